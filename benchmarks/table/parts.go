package main

import (
	"fmt"
	"slices"
	"strings"
)

// partTable is one benchmark of parts: a column for each case, a row for each
// part, both in the order of the input.
type partTable struct {
	name    string
	columns []string
	rows    []partRow
	cost    map[partRow]map[string]*figures
}

// partRow is a part, and the sort that it is compared within.
type partRow struct{ sort, name string }

func newPartTable(name string) *partTable {
	return &partTable{name: name, cost: map[partRow]map[string]*figures{}}
}

func (t *partTable) add(row partRow, column string, cost figures) {
	if t.cost[row] == nil {
		t.cost[row] = map[string]*figures{}
		t.rows = append(t.rows, row)
	}
	if t.cost[row][column] == nil {
		t.cost[row][column] = &figures{}
	}
	t.cost[row][column].least(cost)
	if !slices.Contains(t.columns, column) {
		t.columns = append(t.columns, column)
	}
}

// write writes nanoseconds and, behind the first part of each sort, how many
// times those of the first they are. Bytes and allocations are the most that a
// case has.
func (t *partTable) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s, ns, best of %d\n\n| |", t.name, t.passes())
	for _, c := range t.columns {
		fmt.Fprintf(b, " %s |", c)
	}
	b.WriteString(" B | allocs |\n|---|" + strings.Repeat("---:|", len(t.columns)+2) + "\n")
	first := map[string]partRow{}
	for _, row := range t.rows {
		base, behind := first[row.sort]
		if !behind {
			first[row.sort] = row
		}
		name := row.name
		if row.sort != "" {
			name = row.sort + ": " + name
		}
		fmt.Fprintf(b, "| %s |", name)
		var bytes, allocs float64
		for _, c := range t.columns {
			f := t.cost[row][c]
			if f == nil {
				b.WriteString(" |")
				continue
			}
			bytes, allocs = max(bytes, f.bytes), max(allocs, f.allocs)
			if of := t.cost[base][c]; behind && of != nil {
				fmt.Fprintf(b, " %s (%.2f) |", nanoseconds(f.ns), f.ns/of.ns)
			} else {
				fmt.Fprintf(b, " %s |", nanoseconds(f.ns))
			}
		}
		fmt.Fprintf(b, " %.0f | %.0f |\n", bytes, allocs)
	}
}

// passes is how often the part was measured that was measured least.
func (t *partTable) passes() int {
	least := 0
	for _, columns := range t.cost {
		for _, f := range columns {
			if least == 0 || f.passes < least {
				least = f.passes
			}
		}
	}
	return least
}

func nanoseconds(ns float64) string {
	if ns < 100 {
		return fmt.Sprintf("%.1f", ns)
	}
	return fmt.Sprintf("%.0f", ns)
}
