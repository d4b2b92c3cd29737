// Package archtest holds the architecture: its tests read the source of this repository and fail where it departs
// from what docs/adr decides. Nothing imports it.
//
// The tests parse in their own process, since the go command does not see what a child process reads and would
// serve a stale pass. Every check is a function from a tree of sources to a list of faults; beside the test that
// applies it to this repository stands one that plants a fault in a small tree and demands to see it found.
//
//   - layers: which package may import which, and which modules each links
//   - requirements: what go.mod may require, and how nested modules are tied to the core
//   - api: the exported API of every public package, as golden files in testdata/api
//   - state: no init, no package-level mutable state, no sync.Pool
//   - tests: no sleeping outside a synctest bubble, none skipped
//   - docs: doc.go, a checked Example and comments on exported names in every public package
//   - systems: the types of the core and its tests as windows and darwin have them
//   - texts: file sizes, words the glossary avoids, unfinished work, paths of one machine
//
// A change that is meant shows in the golden files: run the tests of this package with -update, then read the diff.
package archtest
