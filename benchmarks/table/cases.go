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

// parse reads lines such as
//
//	BenchmarkOverhead/case=get/stack=bare-2  1000  823.0 ns/op  560 B/op  4 allocs/op
//
// and passes over all that are no results of this form.
func parse(r io.Reader) ([]*testCase, error) {
	var cases []*testCase
	byName := map[string]*testCase{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, stack, cost, ok := result(lines.Text())
		if !ok {
			continue
		}
		c := byName[name]
		if c == nil {
			c = &testCase{name: name, cost: map[string]*figures{}}
			byName[name] = c
			cases = append(cases, c)
		}
		if c.cost[stack] == nil {
			c.cost[stack] = &figures{}
			c.stacks = append(c.stacks, stack)
		}
		c.cost[stack].least(cost)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(cases) == 0 {
		return nil, errors.New("no results in the input")
	}
	for _, c := range cases {
		if c.cost[bare] == nil {
			return nil, fmt.Errorf("%s: no result of stack=%s to compare with", c.name, bare)
		}
	}
	return cases, nil
}

// result reads one line.
func result(line string) (name, stack string, f figures, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 {
		return "", "", f, false
	}
	path, isBenchmark := strings.CutPrefix(fields[0], "Benchmark")
	name, stack, hasStack := strings.Cut(path, "/stack=")
	if !isBenchmark || !hasStack || stack == "" {
		return "", "", f, false
	}
	procs := "1"
	if i := strings.LastIndexByte(stack, '-'); i > 0 {
		if _, err := strconv.Atoi(stack[i+1:]); err == nil {
			stack, procs = stack[:i], stack[i+1:]
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
	return strings.Replace(name, "/case=", " ", 1) + ", GOMAXPROCS=" + procs, stack, f, ok
}

// write writes a table for each case.
func write(w io.Writer, cases []*testCase) error {
	var b strings.Builder
	for i, c := range cases {
		if i > 0 {
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
	_, err := io.WriteString(w, b.String())
	return err
}
