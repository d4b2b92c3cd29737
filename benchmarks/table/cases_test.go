package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const printed = `goos: linux
pkg: github.com/tulle-mesh/tulle/benchmarks
BenchmarkOverhead/case=get/stack=bare-2         	1000	  500.0 ns/op	 560 B/op	 4 allocs/op
BenchmarkOverhead/case=get/stack=tulle-2        	1000	 1200 ns/op	 1440 B/op	 5 allocs/op
BenchmarkOther-2                                	1000	    1 ns/op
BenchmarkOverhead/case=get/stack=broken         	1000	    x ns/op
--- BENCH: BenchmarkOverhead/case=get/stack=bare-2
BenchmarkLoopback/case=serial/stack=bare        	1000	 50000 ns/op	 5000 B/op	 60 allocs/op
BenchmarkOverhead/case=get/stack=bare-2         	1000	  400.0 ns/op	 561 B/op	 4 allocs/op
BenchmarkOverhead/case=get/stack=tulle-2        	1000	 1400 ns/op	 1430 B/op	 5 allocs/op
PASS
`

const wanted = `Overhead get, GOMAXPROCS=2, best of 2

| | ns | +ns | × bare | +B | +allocs |
|---|---:|---:|---:|---:|---:|
| bare | 400 | +0 | 1.00 | +0 | +0 |
| tulle | 1200 | +800 | 3.00 | +870 | +1 |

Loopback serial, GOMAXPROCS=1, best of 1

| | ns | +ns | × bare | +B | +allocs |
|---|---:|---:|---:|---:|---:|
| bare | 50000 | +0 | 1.00 | +0 | +0 |
`

func TestTables(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(nil, strings.NewReader(printed), &out))
	require.Equal(t, wanted, out.String())
}

func TestNothingToCompare(t *testing.T) {
	var out strings.Builder
	require.ErrorContains(t, run(nil, strings.NewReader("PASS\n"), &out), "no results")
	require.ErrorContains(t, run(nil, strings.NewReader("BenchmarkX/case=a/stack=b 1 1 ns/op\n"), &out), "X a, GOMAXPROCS=1: no result of stack=bare")
	require.Error(t, run([]string{"testdata/absent"}, nil, &out))
	require.Empty(t, out.String())
}
