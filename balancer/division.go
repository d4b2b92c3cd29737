package balancer

import (
	"cmp"
	"slices"

	"github.com/tulle-mesh/tulle/endpoint"

	"github.com/tulle-mesh/tulle/outcome"
)

// Division is how the calls to a set of endpoints are divided. It does not
// change.
type Division struct {
	picker   Picker
	observer Observer
	usable   []*endpoint.Endpoint
	parts    []Part
	counted  []Counted
	before   []PickCount
}

// Part describes a part of a Division.
type Part struct {
	Priority uint32 `json:"priority"`
	// Region and Zone say where the endpoints of the part are, if they are a
	// part for that.
	Region string `json:"region,omitzero"`
	Zone   string `json:"zone,omitzero"`
	// Load is the part's share of all calls, from 0 to 1, as it was when the
	// division was made; it changes while endpoints are in their ramps.
	Load float64 `json:"load"`
	// Known counts the part's endpoints without those that are not ready or
	// leaving, Available those of them that nothing holds. Where those that
	// are leaving are all there is to use, they alone are counted.
	Known     int `json:"known"`
	Available int `json:"available"`
	// Panic says that endpoints are used though they are held for their
	// health.
	Panic bool `json:"panic,omitzero"`
}

// Picker returns what picks from the division, nil if there is nothing to
// pick. If all endpoints are in one part and none is in its ramp it is the
// policy's own.
func (d *Division) Picker() Picker { return d.picker }

// Observer returns what learns from the results of the division's picks, nil
// if the policy does not learn.
func (d *Division) Observer() Observer { return d.observer }

// Usable returns the endpoints that may be picked, in order of address. They
// include those that only attempts that must avoid others may get. The caller
// must not change the slice.
func (d *Division) Usable() []*endpoint.Endpoint { return d.usable }

// Parts describes the parts, in the order in which calls spill. The caller
// must not change the slice.
func (d *Division) Parts() []Part { return d.parts }

// Picks returns how many picks there were for each reason since the Spreader
// was made, over all parts, nil if the policy does not count. It may be called
// at any time.
func (d *Division) Picks() []PickCount {
	all := slices.Clone(d.before)
	for _, c := range d.counted {
		all = addPicks(all, c.Picks())
	}
	return all
}

// division makes the Division of a set.
func (s *Spreader) division(set *partition, at int64) *Division {
	d := &Division{}
	picker := &divided{base: s.base, at: at, strict: s.spread.Strict}
	var used []*part
	for _, p := range set.parts {
		if len(p.usable) == 0 {
			continue
		}
		eps := make([]*endpoint.Endpoint, len(p.usable))
		for i, c := range p.usable {
			eps[i] = c.ep
		}
		pk := pickable{picker: s.of(p.key).Update(eps), thinner: newThinner(p, s.shape, at), hash: p.key.hash()}
		pk.returner, _ = pk.picker.(returner)
		pk.wary, _ = pk.picker.(Wary)
		picker.parts = append(picker.parts, pk)
		used = append(used, p)
	}
	shares := set.shares(s, at)
	for i, p := range set.parts {
		d.parts = append(d.parts, p.describe(shares[i]))
	}
	d.usable = usable(used)
	switch {
	case len(picker.parts) == 1 && picker.parts[0].thinner == nil:
		d.picker = picker.parts[0].picker
	case len(picker.parts) > 0:
		picker.schedule(s, set)
		d.picker = picker
	}
	if s.learns {
		d.observer = s.observer(set)
	}
	return d
}

func (p *part) describe(share float64) Part {
	return Part{
		Priority: p.key.priority, Region: p.region, Zone: p.zone, Load: share,
		Known: len(p.cs), Available: p.available, Panic: p.panic,
	}
}

// usable returns the endpoints of all parts in the order of the members.
func usable(parts []*part) []*endpoint.Endpoint {
	var cs []candidate
	for _, p := range parts {
		cs = append(cs, p.usable...)
	}
	if len(parts) > 1 {
		slices.SortFunc(cs, func(a, b candidate) int { return cmp.Compare(a.index, b.index) })
	}
	eps := make([]*endpoint.Endpoint, len(cs))
	for i, c := range cs {
		eps[i] = c.ep
	}
	return eps
}

// observer returns what tells the Balancers of the parts of results.
func (s *Spreader) observer(set *partition) Observer {
	if len(set.parts) == 1 {
		o, _ := s.of(set.parts[0].key).(Observer)
		return o
	}
	by := &observers{map[*endpoint.Endpoint]Observer{}}
	for _, p := range set.parts {
		b := s.balancers[p.key]
		if b == nil {
			continue
		}
		if o, ok := b.Balancer.(Observer); ok {
			for _, c := range p.cs {
				by.of[c.ep] = o
			}
		}
	}
	return by
}

// observers has the Balancer of each endpoint's part.
type observers struct {
	of map[*endpoint.Endpoint]Observer
}

// Observe implements Observer.
func (o *observers) Observe(ep *endpoint.Endpoint, r outcome.Result) {
	if of := o.of[ep]; of != nil {
		of.Observe(ep, r)
	}
}
