package endpoint_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

var holds = []endpoint.Hold{
	endpoint.NotReady, endpoint.Unhealthy, endpoint.Ejected, endpoint.BreakerOpen, endpoint.Leaving, endpoint.Removed,
}

// history is the naive model of an availability: it keeps everything that was
// done and looks through all of it for each answer.
type history []step

type step struct {
	lift   bool
	hold   endpoint.Hold
	reason string
	at     time.Time
}

// holding returns what holds after the first n steps, with the step that
// began it and the last reason given.
func (h history) holding(n int) map[endpoint.Hold]step {
	held := map[endpoint.Hold]step{}
	for _, s := range h[:n] {
		old, on := held[s.hold]
		switch {
		case s.lift && s.hold != endpoint.Removed:
			delete(held, s.hold)
		case s.lift:
		case on:
			old.reason = s.reason
			held[s.hold] = old
		default:
			held[s.hold] = s
		}
	}
	return held
}

// since goes back to the last step after which the answer to "is it
// available" was another one.
func (h history) since() time.Time {
	now := len(h.holding(len(h))) == 0
	for n := len(h) - 1; n >= 0; n-- {
		if (len(h.holding(n)) == 0) != now {
			return h[n].at
		}
	}
	return start
}

func (h history) check(a *endpoint.Availability) error {
	held := h.holding(len(h))
	if a.Available() != (len(held) == 0) {
		return fmt.Errorf("available: %v, held by %v", a.Available(), held)
	}
	if want := slices.Sorted(maps.Keys(held)); !slices.Equal(a.Holds(), want) {
		return fmt.Errorf("held by %v, want %v", a.Holds(), want)
	}
	for _, hold := range holds {
		want, on := held[hold]
		if got, reason, from := a.Held(hold); got != on || reason != want.reason || !from.Equal(want.at) {
			return fmt.Errorf("%v: %v %q %v, want %v %q %v", hold, got, reason, from, on, want.reason, want.at)
		}
	}
	if want := h.since(); !a.Since().Equal(want) {
		return fmt.Errorf("since %v, want %v", a.Since(), want)
	}
	return nil
}

// run does n random steps, passing every hold through via, and returns the
// first difference from the model.
func run(seed uint64, n int, via func(*endpoint.Control, step) bool) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1"}, start)
	var h history
	for i := range n {
		s := step{
			lift: rnd.IntN(2) == 0, hold: holds[rnd.IntN(len(holds))],
			reason: fmt.Sprint("reason ", rnd.IntN(3)), at: start.Add(time.Duration(i+1) * time.Second),
		}
		if s.hold == endpoint.Removed && rnd.IntN(n) != 0 {
			// Final, so rare: else nothing else would ever be seen.
			s.hold = endpoint.Ejected
		}
		before := ep.Available()
		changed := via(control, s)
		h = append(h, s)
		if err := h.check(ep.Availability()); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if changed != (before != ep.Available()) {
			return fmt.Errorf("step %d: changed: %v, available: %v then %v", i, changed, before, ep.Available())
		}
	}
	return nil
}

func apply(c *endpoint.Control, s step) bool {
	if s.lift {
		return c.Lift(s.hold, s.at)
	}
	return c.Hold(s.hold, s.reason, s.at)
}

func TestAvailabilityIsAsItsHistory(t *testing.T) {
	for seed := range uint64(200) {
		if err := run(seed, 40, apply); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// Negative control: the model notices a lift that was lost.
func TestAvailabilityModelNoticesALostLift(t *testing.T) {
	lost := false
	err := run(0, 40, func(c *endpoint.Control, s step) bool {
		held, _, _ := c.Endpoint().Availability().Held(s.hold)
		if s.lift && held && !lost {
			lost = true
			return false
		}
		return apply(c, s)
	})
	if !lost || err == nil {
		t.Fatal("a lift was lost and no difference seen")
	}
}

func TestRemovedIsFinal(t *testing.T) {
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1"}, start)
	if !control.Hold(endpoint.Removed, "gone", start) {
		t.Fatal("not changed")
	}
	for _, h := range holds {
		control.Hold(h, "x", start)
		control.Lift(h, start)
	}
	control.SetInfo(endpoint.Info{Addr: "a:1"}, start)
	if got := ep.Availability().Holds(); !slices.Equal(got, []endpoint.Hold{endpoint.Removed}) {
		t.Errorf("held by %v", got)
	}
}

func TestReadiness(t *testing.T) {
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1", NotReady: true}, start)
	if held, reason, since := ep.Availability().Held(endpoint.NotReady); !held || reason != "discovery" || !since.Equal(start) {
		t.Error(held, reason, since)
	}
	later := start.Add(time.Minute)
	if !control.SetInfo(endpoint.Info{Addr: "other:1", Weight: 7}, later) || !ep.Available() {
		t.Error("still held")
	}
	if ep.Addr() != "a:1" || ep.Info().Addr != "a:1" || ep.Weight() != 7 {
		t.Error("the address is the identity and stays:", ep.Addr(), ep.Info())
	}
	if !ep.Since().Equal(start) || !ep.Availability().Since().Equal(later) {
		t.Error(ep.Since(), ep.Availability().Since())
	}
}

func TestAvailabilitySnapshotStays(t *testing.T) {
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1"}, start)
	before := ep.Availability()
	control.Hold(endpoint.Ejected, "5xx", start)
	if !before.Available() {
		t.Error("a state that was handed out has changed")
	}
}

func TestUnknownHold(t *testing.T) {
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1"}, start)
	const unknown = endpoint.Hold(200)
	if control.Hold(unknown, "x", start) || control.Lift(unknown, start) || !ep.Available() {
		t.Error("an unknown hold did something")
	}
	if held, reason, since := ep.Availability().Held(unknown); held || reason != "" || !since.IsZero() {
		t.Error("an unknown hold is held")
	}
	if unknown.String() != "unknown" {
		t.Error(unknown)
	}
}

func TestHoldNames(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range holds {
		text, err := h.MarshalText()
		if err != nil || string(text) != h.String() || h.String() == "unknown" || h.String() == "" || seen[h.String()] {
			t.Errorf("%d: %q, %v", h, text, err)
		}
		seen[h.String()] = true
		back := endpoint.Hold(200)
		if err := back.UnmarshalText(text); err != nil || back != h {
			t.Errorf("%q is read as %v, %v", text, back, err)
		}
	}
	back := endpoint.Ejected
	for _, text := range []string{"", "unknown", "Ejected"} {
		if err := back.UnmarshalText([]byte(text)); err == nil || back != endpoint.Ejected {
			t.Errorf("%q is read as %v", text, back)
		}
	}
}
