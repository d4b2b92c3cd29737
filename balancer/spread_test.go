package balancer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// place is n endpoints that run at one place, some of which are held.
type place struct {
	priority     uint32
	region, zone string
	n, held      int
	weight       uint32
}

// land is endpoints at some places, as members of a set.
type land struct {
	members  []balancer.Member
	controls map[*endpoint.Endpoint]*endpoint.Control
	of       map[*endpoint.Endpoint]int // index of the place
	at       [][]*endpoint.Endpoint     // of each place
}

func newLand(places ...place) *land {
	l := &land{controls: map[*endpoint.Endpoint]*endpoint.Control{}, of: map[*endpoint.Endpoint]int{}}
	for i, p := range places {
		var eps []*endpoint.Endpoint
		for j := range p.n {
			ep, control := endpoint.New(endpoint.Info{
				Addr: fmt.Sprintf("10.%03d.%03d.%03d:80", i, j/256, j%256), Weight: p.weight,
				Priority: p.priority, Region: p.region, Zone: p.zone,
			}, start.Add(-time.Hour))
			if j < p.held {
				control.Hold(endpoint.Unhealthy, "test", start.Add(-time.Minute))
			}
			l.members = append(l.members, balancer.Member{Endpoint: ep})
			l.controls[ep], l.of[ep] = control, i
			eps = append(eps, ep)
		}
		l.at = append(l.at, eps)
	}
	return l
}

// hold makes exactly so many endpoints of a place held.
func (l *land) hold(place, n int, now time.Time) {
	for i, ep := range l.at[place] {
		if i < n {
			l.controls[ep].Hold(endpoint.Unhealthy, "test", now)
		} else {
			l.controls[ep].Lift(endpoint.Unhealthy, now)
		}
	}
}

// shares returns which part of many picks goes to each place.
func (l *land) shares(p balancer.Picker, q balancer.Query, picks int) []float64 {
	rnd := rand.New(rand.NewPCG(3, 4))
	shares := make([]float64, len(l.at))
	for range picks {
		q.Draw, q.Hash = rnd.Uint64(), rnd.Uint64()
		shares[l.of[p.Pick(q)]] += 1 / float64(picks)
	}
	return shares
}

func (l *land) divide(s balancer.Spread, env balancer.Env) *balancer.Division {
	return balancer.NewSpreader(balancer.Random{}, s, env).Update(l.members, start)
}

func loads(d *balancer.Division) []float64 {
	var loads []float64
	for _, p := range d.Parts() {
		loads = append(loads, p.Load)
	}
	return loads
}

func panics(d *balancer.Division) []bool {
	var panics []bool
	for _, p := range d.Parts() {
		panics = append(panics, p.Panic)
	}
	return panics
}

// The figures of Envoy's documentation, and those at the edges; held by parts
// and by what is picked.
func TestCallsSpillOverPriorities(t *testing.T) {
	tiers := func(percent ...int) (places []place) {
		for i, p := range percent {
			places = append(places, place{priority: uint32(i * 3), n: 100, held: 100 - p})
		}
		return places
	}
	never := balancer.Spread{Panic: -1}
	for _, c := range []struct {
		name   string
		spread balancer.Spread
		places []place
		want   []float64
		panics []bool
	}{
		{"all is well", balancer.Spread{}, tiers(100, 100), []float64{1, 0}, []bool{false, false}},
		{"72 % is enough", balancer.Spread{}, tiers(72, 100), []float64{1, 0}, []bool{false, false}},
		{"71 % is not", balancer.Spread{}, tiers(71, 100), []float64{.994, .006}, []bool{false, false}},
		{"half", balancer.Spread{}, tiers(50, 100), []float64{.7, .3}, []bool{false, false}},
		{"none", balancer.Spread{}, tiers(0, 100), []float64{0, 1}, []bool{false, false}},
		{"five of seven", balancer.Spread{}, []place{{n: 7, held: 2}, {priority: 1, n: 1}}, []float64{1, 0}, []bool{false, false}},
		{"quarters, in panic", balancer.Spread{}, tiers(25, 25), []float64{.5, .5}, []bool{true, true}},
		{"quarters, without panic", never, tiers(25, 25), []float64{.5, .5}, []bool{false, false}},
		{"three tiers", balancer.Spread{}, tiers(25, 25, 100), []float64{.35, .35, .30}, []bool{false, false, false}},
		{"in proportion", never, tiers(10, 30), []float64{.25, .75}, []bool{false, false}},
		{"all are lost: by size", balancer.Spread{}, []place{{n: 10, held: 8}, {priority: 1, n: 30, held: 20}}, []float64{.25, .75}, []bool{true, true}},
		{"one in panic", balancer.Spread{}, tiers(10, 55), []float64{14. / 91, 77. / 91}, []bool{true, false}},
		{"one is gone, the other is not lost", balancer.Spread{}, tiers(0, 60), []float64{0, 1}, []bool{false, false}},
		{"one factor for another", balancer.Spread{OverProvisioning: 1}, tiers(50, 100), []float64{.5, .5}, []bool{false, false}},
		{"twice as much", balancer.Spread{OverProvisioning: 2}, tiers(50, 100), []float64{1, 0}, []bool{false, false}},
		{"panic later", balancer.Spread{Panic: .2}, tiers(25), []float64{1}, []bool{false}},
		{"panic sooner", balancer.Spread{Panic: .3}, tiers(25), []float64{1}, []bool{true}},
		{"strict", balancer.Spread{Strict: true}, tiers(1, 100), []float64{1, 0}, []bool{false, false}},
		{"strict, first gone", balancer.Spread{Strict: true}, tiers(0, 10, 100), []float64{0, 1, 0}, []bool{false, false, false}},
		{"strict, in panic", balancer.Spread{Strict: true}, tiers(0, 10, 20), []float64{0, 1, 0}, []bool{false, true, false}},
		{"strict, all gone", balancer.Spread{Strict: true}, tiers(0, 0), []float64{1, 0}, []bool{true, false}},
		{"by weight", balancer.Spread{}, []place{{n: 1, held: 1, weight: 10}, {n: 10, weight: 1}, {priority: 1, n: 1}}, []float64{.7, .3}, []bool{false, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLand(c.places...)
			d := l.divide(c.spread, balancer.Env{})
			require.InDeltaSlice(t, c.want, loads(d), 1e-9)
			require.Equal(t, c.panics, panics(d))
			if len(c.places) > len(c.want) {
				return
			}
			for _, keyed := range []bool{false, true} {
				require.InDeltaSlice(t, c.want, l.shares(d.Picker(), balancer.Query{HasHash: keyed, Now: start}, 40000), 0.012)
			}
			for i, p := range d.Parts() {
				require.Equal(t, c.places[i].n, p.Known)
				require.Equal(t, c.places[i].n-c.places[i].held, p.Available)
			}
		})
	}
}

func TestPanicUsesWhatIsHeldForHealth(t *testing.T) {
	l := newLand(place{n: 10})
	for i, h := range []endpoint.Hold{endpoint.Unhealthy, endpoint.Ejected, endpoint.BreakerOpen, endpoint.NotReady, endpoint.Removed, endpoint.Leaving} {
		l.controls[l.at[0][i]].Hold(h, "test", start)
	}
	l.controls[l.at[0][6]].Hold(endpoint.Unhealthy, "test", start)
	l.controls[l.at[0][6]].Hold(endpoint.NotReady, "test", start)
	// Of six that count three are available.
	d := l.divide(balancer.Spread{Panic: .51}, balancer.Env{})
	require.Equal(t, []balancer.Part{{Load: 1, Known: 6, Available: 3, Panic: true}}, d.Parts())
	require.Equal(t, append(append([]*endpoint.Endpoint{}, l.at[0][:3]...), l.at[0][7:]...), d.Usable())
	d = l.divide(balancer.Spread{}, balancer.Env{})
	require.Equal(t, []balancer.Part{{Load: 1, Known: 6, Available: 3}}, d.Parts())
	require.Equal(t, l.at[0][7:], d.Usable())
}

func TestLeavingIsTheLastResort(t *testing.T) {
	l := newLand(place{n: 4}, place{priority: 1, n: 2})
	for _, ep := range l.at[0] {
		l.controls[ep].Hold(endpoint.Leaving, "test", start)
	}
	d := l.divide(balancer.Spread{}, balancer.Env{})
	require.Equal(t, l.at[1], d.Usable())
	require.Equal(t, []balancer.Part{{Priority: 1, Load: 1, Known: 2, Available: 2}}, d.Parts())

	// Even those held for their health come first, unless they are never used.
	l.hold(1, 2, start)
	require.Equal(t, l.at[1], l.divide(balancer.Spread{}, balancer.Env{}).Usable())
	require.Equal(t, l.at[0], l.divide(balancer.Spread{Panic: -1}, balancer.Env{}).Usable())

	for _, ep := range l.at[1] {
		l.controls[ep].Hold(endpoint.NotReady, "test", start)
	}
	l.controls[l.at[0][0]].Hold(endpoint.NotReady, "test", start)
	l.controls[l.at[0][1]].Hold(endpoint.Unhealthy, "test", start)
	d = l.divide(balancer.Spread{}, balancer.Env{})
	require.Equal(t, l.at[0][2:], d.Usable())
	require.Equal(t, []float64{1}, loads(d))
	// All that still serve are unhealthy.
	l.controls[l.at[0][2]].Hold(endpoint.Unhealthy, "test", start)
	l.controls[l.at[0][3]].Hold(endpoint.Unhealthy, "test", start)
	require.Equal(t, l.at[0][1:], l.divide(balancer.Spread{}, balancer.Env{}).Usable())
}

func TestNothingToPick(t *testing.T) {
	all := newLand(place{n: 3, held: 3}, place{priority: 1, n: 2, held: 2})
	for name, d := range map[string]*balancer.Division{
		"no members":      newLand().divide(balancer.Spread{}, balancer.Env{}),
		"never in panic":  all.divide(balancer.Spread{Panic: -1}, balancer.Env{}),
		"and if strict":   all.divide(balancer.Spread{Panic: -1, Strict: true}, balancer.Env{}),
		"strict, nothing": newLand().divide(balancer.Spread{Strict: true}, balancer.Env{}),
	} {
		require.Nil(t, d.Picker(), name)
		require.Empty(t, d.Usable(), name)
		for _, p := range d.Parts() {
			require.Zero(t, p.Load, name)
			require.Zero(t, p.Available, name)
			require.False(t, p.Panic, name)
		}
	}
	require.NotNil(t, all.divide(balancer.Spread{}, balancer.Env{}).Picker())
}

func TestNearestZone(t *testing.T) {
	near := balancer.Spread{Zones: balancer.NearestZone}
	home := balancer.Env{Region: "eu", Zone: "eu-a"}
	places := []place{
		{region: "eu", zone: "eu-a", n: 20},
		{region: "eu", zone: "eu-b", n: 20},
		{region: "eu", n: 20},
		{region: "us", zone: "eu-a", n: 20}, // of the same name by chance
		{zone: "x", n: 20},
		{priority: 1, region: "eu", zone: "eu-a", n: 20},
	}
	l := newLand(places...)
	d := l.divide(near, home)
	require.Equal(t, []balancer.Part{
		{Region: "eu", Zone: "eu-a", Load: 1, Known: 20, Available: 20},
		{Region: "eu", Known: 40, Available: 40},
		{Known: 40, Available: 40},
		{Priority: 1, Region: "eu", Zone: "eu-a", Known: 20, Available: 20},
	}, d.Parts())

	l.hold(0, 10, start)
	require.InDeltaSlice(t, []float64{.7, .3, 0, 0}, loads(l.divide(near, home)), 1e-9)
	l.hold(0, 20, start)
	l.hold(1, 20, start)
	require.InDeltaSlice(t, []float64{0, .7, .3, 0}, loads(l.divide(near, home)), 1e-9)

	// Who does not know where it is has one tier, and the zero Spread has one
	// for anybody: zones are never looked at without being asked for.
	l = newLand(places[:5]...)
	for _, d := range []*balancer.Division{l.divide(near, balancer.Env{}), l.divide(balancer.Spread{}, home)} {
		require.Equal(t, []balancer.Part{{Load: 1, Known: 100, Available: 100}}, d.Parts())
		require.InDeltaSlice(t, []float64{.2, .2, .2, .2, .2}, l.shares(d.Picker(), balancer.Query{}, 20000), 0.02)
	}
	// A caller that knows its zone only, and endpoints that say only theirs.
	require.InDeltaSlice(t, []float64{1, 0}, loads(l.divide(near, balancer.Env{Zone: "eu-b"})), 1e-9)
	require.Equal(t, 1, newLand(place{zone: "eu-a", n: 1}).divide(near, home).Parts()[0].Known)
	require.Equal(t, "eu-a", newLand(place{zone: "eu-a", n: 1}).divide(near, home).Parts()[0].Zone)
}

func TestWeightedZones(t *testing.T) {
	weighted := func(ws ...uint32) balancer.Spread {
		s := balancer.Spread{Zones: balancer.WeightedZones}
		for i, w := range ws {
			s.ZoneWeights = append(s.ZoneWeights, balancer.ZoneWeight{Zone: string(rune('a' + i)), Weight: w})
		}
		return s
	}
	for _, c := range []struct {
		name   string
		spread balancer.Spread
		places []place
		want   []float64
	}{
		{"by weight, whatever their sizes", weighted(1, 3), []place{{zone: "a", n: 30}, {zone: "b", n: 10}}, []float64{.25, .75}},
		// The example of Envoy's documentation: 26 to 74.
		{"half of one is gone", weighted(1, 2), []place{{zone: "a", n: 10, held: 5}, {zone: "b", n: 10}}, []float64{.7 / 2.7, 2 / 2.7}},
		{"1.4 times half of it", weighted(2, 1), []place{{zone: "a", n: 10, held: 5}, {zone: "b", n: 10}}, []float64{1.4 / 2.4, 1 / 2.4}},
		{"one is gone", weighted(1, 1, 2), []place{{zone: "a", n: 10, held: 10}, {zone: "b", n: 10}, {zone: "c", n: 10}}, []float64{0, 1. / 3, 2. / 3}},
		{"others get nothing", weighted(1), []place{{zone: "a", n: 10}, {zone: "x", n: 10}}, []float64{1, 0}},
		{"until they are needed", weighted(1), []place{{zone: "a", n: 10, held: 5}, {zone: "x", n: 10}}, []float64{.7, .3}},
		{"or have to do it all", weighted(1, 0), []place{{zone: "a", n: 10, held: 10}, {zone: "b", n: 10}}, []float64{0, 1}},
		{"in panic by weight", weighted(1, 3), []place{{zone: "a", n: 10, held: 10}, {zone: "b", n: 10, held: 9}}, []float64{.25, .75}},
		{"a zone for each priority", weighted(1, 1), []place{
			{zone: "a", n: 10, held: 4}, {zone: "b", n: 10, held: 6}, {priority: 1, zone: "a", n: 2}, {priority: 1, zone: "b", n: 2},
		}, []float64{.7 * .84 / 1.4, .7 * .56 / 1.4, .15, .15}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLand(c.places...)
			d := l.divide(c.spread, balancer.Env{})
			require.InDeltaSlice(t, c.want, loads(d), 1e-9)
			require.InDeltaSlice(t, c.want, l.shares(d.Picker(), balancer.Query{}, 40000), 0.012)
		})
	}
	d := newLand(place{region: "r", zone: "a", n: 1}, place{region: "s", zone: "b", n: 1}, place{region: "t", zone: "b", n: 1}).divide(weighted(1, 1), balancer.Env{})
	require.Equal(t, []balancer.Part{
		{Region: "r", Zone: "a", Load: .5, Known: 1, Available: 1}, {Zone: "b", Load: .5, Known: 2, Available: 2},
	}, d.Parts())
}

func TestSpreadValidate(t *testing.T) {
	require.NoError(t, balancer.Spread{}.Validate())
	require.NoError(t, balancer.Spread{}.Effective().Validate())
	require.NoError(t, balancer.Spread{
		Strict: true, OverProvisioning: 1, Panic: -1, Zones: balancer.WeightedZones,
		ZoneWeights: []balancer.ZoneWeight{{"a", 1}, {"", 0}},
		SlowStart:   balancer.SlowStart{Window: time.Minute, Aggression: .5, MinPercent: 100},
	}.Validate())
	require.Equal(t, balancer.Spread{
		OverProvisioning: 1.4, Panic: .5, SlowStart: balancer.SlowStart{Aggression: 1, MinPercent: 10},
	}, balancer.Spread{}.Effective())

	err := balancer.Spread{
		OverProvisioning: .9, Panic: 1.1, Zones: 9, ZoneWeights: []balancer.ZoneWeight{{"a", 1}, {"b", 1}, {"a", 2}},
		SlowStart: balancer.SlowStart{Window: -1, Aggression: -1, MinPercent: 101},
	}.Validate()
	for _, path := range []string{
		"overProvisioning: ", "panic: ", "zones: ", "zoneWeights: ", "zoneWeights[2].zone: ",
		"slowStart.window: ", "slowStart.aggression: ", "slowStart.minPercent: ",
	} {
		require.ErrorContains(t, err, path)
	}
	require.Len(t, strings.Split(err.Error(), "\n"), 8)
	for _, bad := range []balancer.Spread{
		{OverProvisioning: math.NaN()}, {OverProvisioning: math.Inf(1)}, {Panic: math.NaN()}, {Zones: balancer.WeightedZones},
		{Zones: balancer.WeightedZones, ZoneWeights: []balancer.ZoneWeight{{"a", 0}}},
		{SlowStart: balancer.SlowStart{Aggression: math.NaN()}}, {SlowStart: balancer.SlowStart{Aggression: 1e9}},
		{SlowStart: balancer.SlowStart{MinPercent: math.NaN()}}, {SlowStart: balancer.SlowStart{MinPercent: -1}},
	} {
		require.Error(t, bad.Validate(), "%+v", bad)
		// Nobody who goes on nevertheless falls over it.
		l := newLand(place{zone: "a", n: 4, held: 3}, place{priority: 1, zone: "b", n: 4, held: 3})
		l.members[3].RampFor = 2 * time.Hour
		d := l.divide(bad, balancer.Env{})
		sum := 0.0
		for _, s := range l.shares(d.Picker(), balancer.Query{Now: start}, 100) {
			sum += s
		}
		require.InDelta(t, 1, sum, 1e-9)
	}

	given := balancer.Spread{ZoneWeights: []balancer.ZoneWeight{{"a", 1}}}
	given.Effective().ZoneWeights[0].Weight = 7
	require.EqualValues(t, 1, given.ZoneWeights[0].Weight)
}

func TestZonesAsText(t *testing.T) {
	for z, text := range map[balancer.Zones]string{balancer.AnyZone: "any", balancer.NearestZone: "nearest", balancer.WeightedZones: "weighted"} {
		b, err := json.Marshal(z)
		require.NoError(t, err)
		require.Equal(t, `"`+text+`"`, string(b))
		var back balancer.Zones
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, z, back)
	}
	var z balancer.Zones
	require.Error(t, z.UnmarshalText([]byte("all")))
	require.Equal(t, "unknown", balancer.Zones(7).String())
	b, err := json.Marshal(balancer.Spread{})
	require.NoError(t, err)
	require.Equal(t, "{}", string(b))
}

// Whatever the holds and the Spread: shares add up to 1 if anything is
// usable, a part with a share has something usable, and tiers after one that
// is wholly available get nothing.
func TestSharesOfAnyDivision(t *testing.T) {
	holds := []endpoint.Hold{endpoint.Unhealthy, endpoint.Ejected, endpoint.BreakerOpen, endpoint.Leaving, endpoint.NotReady, endpoint.Removed}
	rnd := rand.New(rand.NewPCG(11, 12))
	for range 3000 {
		var places []place
		for range rnd.IntN(5) {
			places = append(places, place{
				priority: uint32(rnd.IntN(3)), region: []string{"", "eu", "us"}[rnd.IntN(3)], zone: []string{"", "a", "b"}[rnd.IntN(3)],
				n: rnd.IntN(5), weight: uint32(rnd.IntN(4)),
			})
		}
		l := newLand(places...)
		for i, m := range l.members {
			if rnd.IntN(2) == 0 {
				l.controls[m.Endpoint].Hold(holds[rnd.IntN(len(holds))], "test", start)
			}
			l.members[i].RampFor = time.Duration(rnd.IntN(3)) * time.Hour
		}
		s := balancer.Spread{
			Strict: rnd.IntN(4) == 0, Panic: rnd.Float64()*1.5 - .5, OverProvisioning: 1 + rnd.Float64(), Zones: balancer.Zones(rnd.IntN(3)),
			SlowStart: balancer.SlowStart{Window: time.Duration(rnd.IntN(2)) * 90 * time.Minute},
		}
		if s.Zones == balancer.WeightedZones {
			s.ZoneWeights = []balancer.ZoneWeight{{"a", 1}, {"", 2}}
		}
		require.NoError(t, s.Validate())
		d := l.divide(s, balancer.Env{Region: "eu", Zone: "a"})
		require.NoError(t, sound(d, rnd))
	}
}

func sound(d *balancer.Division, rnd *rand.Rand) error {
	if (d.Picker() == nil) != (len(d.Usable()) == 0) {
		return errors.New("a picker without endpoints, or the reverse")
	}
	var sum float64
	for _, p := range d.Parts() {
		sum += p.Load
		if p.Load > 0 && p.Available == 0 && !p.Panic {
			return fmt.Errorf("%+v has calls for nobody", p)
		}
	}
	if d.Picker() == nil {
		if sum != 0 {
			return fmt.Errorf("shares of nothing: %v", sum)
		}
		return nil
	}
	if math.Abs(sum-1) > 1e-9 {
		return fmt.Errorf("shares add up to %v", sum)
	}
	usable := map[*endpoint.Endpoint]bool{}
	for _, ep := range d.Usable() {
		usable[ep] = true
		if held, _, _ := ep.Availability().Held(endpoint.NotReady); held {
			return errors.New("not ready, yet usable")
		}
	}
	for range 50 {
		q := balancer.Query{Draw: rnd.Uint64(), Hash: rnd.Uint64(), HasHash: rnd.IntN(2) == 0, Now: start.Add(time.Duration(rnd.Int64N(int64(3 * time.Hour))))}
		if !usable[d.Picker().Pick(q)] {
			return errors.New("picked what is not usable")
		}
	}
	return nil
}
