//go:build !race

package sim_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/internal/sim"
	"github.com/tulle-mesh/tulle/outcome"
)

// noise is by what part 99th percentiles may differ that should be the same.
// Those of one policy differ by more between two series of chance where callers
// are many and badly advised: TestProofTable tells by how much.
const noise = .05

// Many callers that see little each: what servers say is what keeps the tail
// near to the best there is. By their own calls alone callers are far from it.
func TestProofManyCallers(t *testing.T) {
	f := fleet{servers: 20, callers: 200, load: .85, seeds: either(8, 2), measure: either[time.Duration](10, 4) * time.Second}
	rivals := []rival{loadFed, kept, leastRequest, centralTwo, centralJSQ}
	line := f.run(t, rivals, nil)
	f.sharing = true
	shared := f.run(t, rivals, nil)
	fed, least := line[loadFed.name].p99/line[centralJSQ.name].p99, line[leastRequest.name].p99/line[centralJSQ.name].p99
	fedShared, leastShared := shared[loadFed.name].p99/shared[centralJSQ.name].p99, shared[leastRequest.name].p99/shared[centralJSQ.name].p99
	t.Logf("p99 over that of central join-the-shortest-queue: %.2f in line, %.2f sharing; least request %.1f and %.1f", fed, fedShared, least, leastShared)
	assert.Less(t, fed, 1.2)
	assert.Less(t, fedShared, 1.5)
	// Controls: nobody sends a call back, and what everybody has.
	assert.Greater(t, shared[kept.name].p99/shared[centralJSQ.name].p99, 1.5)
	assert.Greater(t, least, 5.)
	assert.Greater(t, leastShared, 5.)
}

// Few callers know much by themselves, and lose nothing.
func TestProofFewCallers(t *testing.T) {
	for _, size := range [][2]int{{3, 3}, {20, 5}, {6, 30}} {
		for _, sharing := range []bool{false, true} {
			f := fleet{servers: size[0], callers: size[1], load: .85, sharing: sharing, seeds: either(6, 2)}
			f.measure = f.enough(either(30e3, 6e3), 3*time.Second, time.Minute)
			got := f.run(t, either([]rival{loadFed, leastRequest, peakEWMA, prequal, centralJSQ}, []rival{loadFed, centralJSQ}), nil)
			assert.Less(t, got[loadFed.name].p99, either(1.15, 1.2)*got[centralJSQ.name].p99, "%v", f)
		}
	}
}

// Where plain least request is enough: as many callers as servers or fewer,
// and few of both; or equal servers, as long as there is room.
func TestProofLeastRequestIsEnough(t *testing.T) {
	fleets := []fleet{
		{servers: 3, callers: 3, load: .85}, {servers: 20, callers: 5, load: .85, even: true}, {servers: 20, callers: 200, load: .5, even: true},
	}
	if long() {
		fleets = append(fleets, fleet{servers: 3, callers: 3, load: .7}, fleet{servers: 3, callers: 3, load: .95},
			fleet{servers: 20, callers: 5, load: .5}, fleet{servers: 50, callers: 500, load: .5, even: true},
			fleet{servers: 3, callers: 3, load: .85, sharing: true}, fleet{servers: 20, callers: 200, load: .5, even: true, sharing: true})
	}
	for _, f := range fleets {
		f.seeds = either(4, 2)
		f.measure = f.enough(either(40e3, 6e3), time.Second, time.Minute)
		got := f.run(t, []rival{loadFed, leastRequest, centralJSQ}, nil)
		assert.Less(t, got[leastRequest.name].p99, 1.2*got[centralJSQ.name].p99, "%v", f)
	}
	// Control: it is not when callers are many and servers differ, though there
	// is room.
	f := fleet{servers: 20, callers: 200, load: .7, seeds: either(4, 2), measure: either[time.Duration](10, 3) * time.Second}
	got := f.run(t, []rival{loadFed, leastRequest, centralJSQ}, nil)
	assert.Greater(t, got[leastRequest.name].p99, 3*got[centralJSQ.name].p99)
}

// The table. Load-fed is nowhere worse than peak EWMA, its way back.
func TestProofTable(t *testing.T) {
	again := rival{"peak, other chance", redrawn{peakEWMA.chooser}}
	worst, chance := 0.0, 0.0
	for _, size := range either([][2]int{{3, 3}, {6, 30}, {20, 5}, {20, 200}, {50, 500}}, [][2]int{{6, 30}, {20, 200}}) {
		for _, load := range either([]float64{.3, .5, .7, .85, .95}, []float64{.7}) {
			for _, even := range []bool{false, true} {
				for _, sharing := range []bool{false, true} {
					f := fleet{servers: size[0], callers: size[1], load: load, even: even, sharing: sharing, seeds: either(2, 1)}
					f.measure = f.enough(either(30e3, 5e3), either[time.Duration](4, 1)*time.Second, time.Minute)
					got := f.run(t, append(either(everybody, []rival{loadFed, peakEWMA}), again), nil)
					peak := got[peakEWMA.name].p99
					worst = max(worst, got[loadFed.name].p99/peak)
					chance = max(chance, math.Abs(math.Log(got[again.name].p99/peak)))
					assert.Less(t, got[loadFed.name].p99, (1+noise)*peak, "%v", f)
					if best, ok := got[centralJSQ.name]; ok {
						over := got[loadFed.name].p99 / best.p99
						assert.Less(t, over, map[bool]float64{true: 1.15, false: 2}[f.callers <= 5], "%v", f)
					}
				}
			}
		}
	}
	t.Logf("p99 of load-fed is at most %.2f times that of peak EWMA, which differs from itself by up to %.2f", worst, math.Exp(chance))
}

// redrawn chooses by other chance.
type redrawn struct{ sim.Chooser }

func (r redrawn) New(c *sim.Caller) sim.Picker { return redrawing{r.Chooser.New(c)} }

type redrawing struct{ sim.Picker }

func (r redrawing) Pick(now time.Time, draw uint64) int {
	return r.Picker.Pick(now, draw*0x9e3779b97f4a7c15)
}

func (r redrawing) Observe(server int, o outcome.Result) {
	r.Picker.(sim.Observer).Observe(server, o)
}

func (r redrawing) Update() { r.Picker.(sim.Updater).Update() }
