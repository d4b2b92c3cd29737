package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// figures are what one stack costs per call.
type figures struct {
	ns, bytes, allocs float64
	passes            int
}

// least takes over what is smaller in a further pass.
func (f *figures) least(o figures) {
	if f.passes == 0 {
		*f = o
	} else {
		f.ns, f.bytes, f.allocs = min(f.ns, o.ns), min(f.bytes, o.bytes), min(f.allocs, o.allocs)
	}
	f.passes++
}

// testCase is one benchmark and case, at one GOMAXPROCS, with its stacks in the
// order of the input.
type testCase struct {
	name   string
	stacks []string
	cost   map[string]*figures
}

const bare = "bare"

// tables are all that was measured: the cases of whole stacks, and the parts.
type tables struct {
	cases []*testCase
	parts []*partTable
}

// parse reads lines such as
//
//	BenchmarkOverhead/case=get/stack=bare-2  1000  823.0 ns/op  560 B/op  4 allocs/op
//	BenchmarkPick/case=10_serial/sort=random/part=tulle  1000  50.1 ns/op  0 B/op  0 allocs/op
//
// and passes over all that are no results of these forms.
func parse(r io.Reader) (*tables, error) {
	t := &tables{}
	cases, parts := map[string]*testCase{}, map[string]*partTable{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		path, procs, cost, ok := result(lines.Text())
		if !ok {
			continue
		}
		if name, stack, ok := cut(path, "/stack="); ok {
			name = strings.Replace(name, "/case=", " ", 1) + ", GOMAXPROCS=" + procs
			c := cases[name]
			if c == nil {
				c = &testCase{name: name, cost: map[string]*figures{}}
				cases[name] = c
				t.cases = append(t.cases, c)
			}
			c.add(stack, cost)
		} else if name, part, ok := cut(path, "/part="); ok {
			name, sort, _ := strings.Cut(name, "/sort=")
			name, column, _ := strings.Cut(name, "/case=")
			p := parts[name]
			if p == nil {
				p = newPartTable(name)
				parts[name] = p
				t.parts = append(t.parts, p)
			}
			p.add(partRow{words(sort), words(part)}, words(column)+", GOMAXPROCS="+procs, cost)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(t.cases)+len(t.parts) == 0 {
		return nil, errors.New("no results in the input")
	}
	for _, c := range t.cases {
		if c.cost[bare] == nil {
			return nil, fmt.Errorf("%s: no result of stack=%s to compare with", c.name, bare)
		}
	}
	return t, nil
}

func (c *testCase) add(stack string, cost figures) {
	if c.cost[stack] == nil {
		c.cost[stack] = &figures{}
		c.stacks = append(c.stacks, stack)
	}
	c.cost[stack].least(cost)
}

// cut is strings.Cut where something is left after sep.
func cut(path, sep string) (before, after string, ok bool) {
	before, after, ok = strings.Cut(path, sep)
	return before, after, ok && after != ""
}

// words undoes what package testing does to spaces.
func words(s string) string { return strings.ReplaceAll(s, "_", " ") }

// result reads one line.
func result(line string) (path, procs string, f figures, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 {
		return "", "", f, false
	}
	path, isBenchmark := strings.CutPrefix(fields[0], "Benchmark")
	if !isBenchmark {
		return "", "", f, false
	}
	procs = "1"
	if i := strings.LastIndexByte(path, '-'); i > 0 {
		if _, err := strconv.Atoi(path[i+1:]); err == nil {
			path, procs = path[:i], path[i+1:]
		}
	}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return "", "", f, false
		}
		switch fields[i+1] {
		case "ns/op":
			f.ns, ok = v, true
		case "B/op":
			f.bytes = v
		case "allocs/op":
			f.allocs = v
		}
	}
	return path, procs, f, ok
}

// write writes a table for each case, and one for the parts of each benchmark.
func write(w io.Writer, t *tables) error {
	var b strings.Builder
	for _, c := range t.cases {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		base := c.cost[bare]
		fmt.Fprintf(&b, "%s, best of %d\n\n", c.name, base.passes)
		b.WriteString("| | ns | +ns | × bare | +B | +allocs |\n|---|---:|---:|---:|---:|---:|\n")
		for _, s := range c.stacks {
			f := c.cost[s]
			fmt.Fprintf(&b, "| %s | %.0f | %+.0f | %.2f | %+.0f | %+.0f |\n",
				s, f.ns, f.ns-base.ns, f.ns/base.ns, f.bytes-base.bytes, f.allocs-base.allocs)
		}
	}
	for _, p := range t.parts {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		p.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
