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
BenchmarkPick/case=10_serial/sort=ring_hash/part=tulle       	1000	   40.00 ns/op	   0 B/op	 0 allocs/op
BenchmarkPick/case=10_serial/sort=ring_hash/part=grpc        	1000	  100.0 ns/op	  72 B/op	 3 allocs/op
BenchmarkPick/case=10_parallel/sort=ring_hash/part=tulle-2   	1000	   20.00 ns/op	   0 B/op	 0 allocs/op
BenchmarkPick/case=10_parallel/sort=ring_hash/part=grpc-2    	1000	   90.00 ns/op	  71 B/op	 3 allocs/op
BenchmarkPick/case=10_serial/sort=ring_hash/part=grpc        	1000	  200.0 ns/op	  72 B/op	 3 allocs/op
BenchmarkPick/case=10_serial/sort=Maglev/part=tulle          	1000	   30.00 ns/op	   0 B/op	 0 allocs/op
BenchmarkLimit/case=serial/part=channel                      	1000	   10.00 ns/op	   0 B/op	 0 allocs/op
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

Pick, ns, best of 1

| | 10 serial, GOMAXPROCS=1 | 10 parallel, GOMAXPROCS=2 | B | allocs |
|---|---:|---:|---:|---:|
| ring hash: tulle | 40.0 | 20.0 | 0 | 0 |
| ring hash: grpc | 100 (2.50) | 90.0 (4.50) | 72 | 3 |
| Maglev: tulle | 30.0 | | 0 | 0 |

Limit, ns, best of 1

| | serial, GOMAXPROCS=1 | B | allocs |
|---|---:|---:|---:|
| channel | 10.0 | 0 | 0 |
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
