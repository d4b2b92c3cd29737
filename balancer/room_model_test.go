package balancer

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
)

// With as many as there is room for a call costs no more than it may, and with
// one more it does.
func TestRoomIsTheInverseOfCost(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	var u usual
	for range 20000 {
		share := []float64{1, .1, .5, 3, math.Exp(rnd.NormFloat64())}[rnd.IntN(5)]
		r := endpoint.LoadReport{
			InFlight: float64(rnd.IntN(60)), Limit: []float64{0, .5, 1, 4, 7.5, 200}[rnd.IntN(6)],
			ServiceTime: time.Duration(math.Exp(rnd.Float64()*18)) + minLatency,
		}
		of := func(n int) float64 {
			r.InFlight = float64(n - 1)
			each, k := u.cost(&r, 0, 0)
			return each * weigh(k, share)
		}
		n := 1 + rnd.IntN(60)
		expected := of(n)
		// As it comes out of a token, with the last bits left to chance.
		drawn := float64(math.Float32frombits(math.Float32bits(float32(expected))&^ties | rnd.Uint32()&ties))
		require.Equal(t, n, roomFor(drawn, float64(r.ServiceTime), r.Limit, share), "%+v, share %v", r, share)
		for _, most := range []float64{expected, drawn, expected * (1 + rnd.Float64())} {
			room := roomFor(most, float64(r.ServiceTime), r.Limit, share)
			require.LessOrEqual(t, of(room), most*1.0002, "%+v, share %v: room for %d at %v", r, share, room, most)
			require.Greater(t, of(room+1), most*.9999, "%+v, share %v: room for %d at %v", r, share, room, most)
		}
	}
	require.Equal(t, 1, roomFor(5, 10, 3, 1), "itself")
	require.Equal(t, int(mostInFlight), roomFor(mostCost, 1000, 0, 1))
}

// A token that was put back has picked nothing.
func TestNoRoomForWhatWasPutBack(t *testing.T) {
	var eps []*endpoint.Endpoint
	b := LoadFed{Exploration: -1}.New(Env{}).(*loadFed)
	now := time.Now()
	for i := range 2 {
		ep, c := endpoint.New(endpoint.Info{Addr: string(rune('A' + i))}, now)
		c.Report(endpoint.LoadReport{InFlight: float64(i), ServiceTime: time.Second}, now)
		eps = append(eps, ep)
	}
	p := b.Update(eps).(*loadPicker)
	for _, ep := range eps {
		b.report((*b.known.Load())[ep], ep, int64(now.Sub(b.base)), 0)
	}
	require.Equal(t, eps[0], p.Pick(Query{Now: now}))
	require.Equal(t, 2, p.Room(eps[0], now))
	// Nor is there any where what else is known may not be picked.
	p.feds[1].due.Store(1 << 60)
	require.Zero(t, p.Room(eps[0], now))
	p.feds[1].due.Store(0)
	p.putBack(eps[0], now)
	require.Zero(t, p.Room(eps[0], now))
}
