package main

import (
	"io"
	"strings"
	"testing"
)

// FuzzParse: whatever the input, each case that comes out of it can be written.
func FuzzParse(f *testing.F) {
	f.Add(printed)
	f.Add("BenchmarkX/stack=bare 1 1e999 ns/op")
	f.Add("Benchmark/stack=-2 1 0 ns/op -1 B/op")
	f.Add("BenchmarkX/case=/sort=/part=-1 1 NaN ns/op")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parse(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, c := range all.cases {
			if len(c.stacks) != len(c.cost) || c.cost[bare] == nil {
				t.Fatalf("case %q: %d stacks, %d costs", c.name, len(c.stacks), len(c.cost))
			}
		}
		for _, p := range all.parts {
			if len(p.rows) != len(p.cost) || p.passes() == 0 {
				t.Fatalf("parts %q: %d rows, %d costs, %d passes", p.name, len(p.rows), len(p.cost), p.passes())
			}
		}
		if err := write(io.Discard, all); err != nil {
			t.Fatal(err)
		}
	})
}
