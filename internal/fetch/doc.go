// Package fetch makes clients for what a mesh fetches beside its calls: lists
// of endpoints, key sets. They repeat what fails in passing, stay with the
// host that they were sent to, and close nobody else's connections.
package fetch
