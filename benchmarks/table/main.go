// Command table reads what go test -bench printed, from the files named or
// from standard input, and writes a Markdown table for each case: what each
// stack costs beyond bare. Parts get one table for each benchmark, and are
// compared with the first of their sort. The figures are the smallest of all passes, since
// what disturbs a measurement only ever adds to it.
//
// Usage:
//
//	go run ./table [file...]
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(files []string, in io.Reader, out io.Writer) error {
	readers := []io.Reader{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		readers = append(readers, f)
	}
	if len(files) == 0 {
		readers = append(readers, in)
	}
	all, err := parse(io.MultiReader(readers...))
	if err != nil {
		return err
	}
	return write(out, all)
}
