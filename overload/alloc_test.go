//go:build !race

package overload_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// writer is the cheapest there is with the methods of httptest's.
type writer struct{ header http.Header }

func (w *writer) Header() http.Header               { return w.header }
func (w *writer) Write(p []byte) (int, error)       { return len(p), nil }
func (w *writer) WriteString(s string) (int, error) { return len(s), nil }
func (w *writer) WriteHeader(int)                   {}
func (w *writer) Flush()                            {}

// wrapped returns one request through the middleware.
func wrapped(t testing.TB, p overload.Policy, hints ...string) func() {
	g, err := overload.New(p, overload.Options{})
	require.NoError(t, err)
	h := g.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	r, err := http.NewRequestWithContext(t.Context(), "GET", "/", http.NoBody)
	require.NoError(t, err)
	r.Header["Tulle-Call"] = hints
	// The map of a server has room when the report comes.
	w := &writer{http.Header{endpoint.LoadReportHeader: nil}}
	return func() { h.ServeHTTP(w, r) }
}

// The wrap may cost 2 allocations of 768 bytes together, the report 1.
func TestAllocations(t *testing.T) {
	for name, row := range map[string]struct {
		policy overload.Policy
		want   float64
	}{
		"fixed":            {overload.Policy{MaxInFlight: 10, NoReport: true}, 1},
		"adaptive":         {overload.Policy{NoReport: true}, 2},
		"observed":         {overload.Policy{NoReport: true, Mode: outcome.Observe}, 2},
		"fixed, report":    {overload.Policy{MaxInFlight: 10}, 2},
		"adaptive, report": {overload.Policy{}, 3},
	} {
		assert.InDelta(t, row.want, testing.AllocsPerRun(2000, wrapped(t, row.policy)), .01, name)
	}
	for policy, most := range map[string]int64{"": 768, "report": 768 + 160} {
		do := wrapped(t, overload.Policy{NoReport: policy == ""})
		assert.LessOrEqual(t, testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				do()
			}
		}).AllocedBytesPerOp(), most, policy)
	}

	fixed, err := overload.New(overload.Policy{MaxInFlight: 10}, overload.Options{})
	require.NoError(t, err)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		ticket, err := fixed.Enter(ctx)
		if err != nil {
			t.Error(err)
		}
		ticket.Leave(true)
	}), "Enter and Leave")

	// A word of room costs the header without it.
	told := make(map[bool]float64)
	for _, tells := range []bool{false, true} {
		do := wrapped(t, overload.Policy{MaxInFlight: 10})
		if tells {
			do = wrapped(t, overload.Policy{MaxInFlight: 10}, "d=850, r=3")
		}
		told[tells] = testing.AllocsPerRun(2000, do)
	}
	assert.LessOrEqual(t, told[true], told[false]+2)
	busy, err := overload.New(overload.Policy{MaxInFlight: 1}, overload.Options{CPU: func() float64 { return -1 }})
	require.NoError(t, err)
	_, err = busy.Enter(ctx)
	require.NoError(t, err)
	var ticket overload.Ticket
	for room, want := range map[int]bool{1: true, 2: false} {
		assert.Zero(t, testing.AllocsPerRun(1000, func() {
			if busy.SendBack(&ticket, room) != want {
				t.Error(room)
			}
		}))
	}
}

func BenchmarkEnter(b *testing.B) {
	for name, p := range map[string]overload.Policy{"fixed": {MaxInFlight: 10}, "adaptive": {}} {
		b.Run(name, func(b *testing.B) {
			g, err := overload.New(p, overload.Options{})
			require.NoError(b, err)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				ticket, _ := g.Enter(ctx)
				ticket.Leave(true)
			}
		})
	}
}

func BenchmarkMiddleware(b *testing.B) {
	for name, p := range map[string]overload.Policy{
		"fixed": {MaxInFlight: 10, NoReport: true}, "adaptive": {NoReport: true}, "adaptive, report": {},
	} {
		b.Run(name, func(b *testing.B) {
			do := wrapped(b, p)
			b.ReportAllocs()
			for b.Loop() {
				do()
			}
		})
	}
}

func BenchmarkRefuse(b *testing.B) {
	g, err := overload.New(overload.Policy{MaxInFlight: 1, Waiting: -1}, overload.Options{})
	require.NoError(b, err)
	ctx := b.Context()
	_, err = g.Enter(ctx)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = g.Enter(ctx)
	}
}

func BenchmarkSendBack(b *testing.B) {
	g, err := overload.New(overload.Policy{MaxInFlight: 1}, overload.Options{})
	require.NoError(b, err)
	_, err = g.Enter(b.Context())
	require.NoError(b, err)
	for name, room := range map[string]int{"no room": 1, "room": 2, "no word": 0} {
		b.Run(name, func(b *testing.B) {
			var t overload.Ticket
			b.ReportAllocs()
			for b.Loop() {
				g.SendBack(&t, room)
			}
		})
	}
}
