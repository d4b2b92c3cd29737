package balancer

import "github.com/tulle-mesh/tulle/endpoint"

// Random draws an endpoint for each pick, as often as its weight says and
// whatever it is doing. Picks share nothing and remember nothing, so that it
// is the cheapest policy; by chance alone the busiest of many endpoints has
// far more in flight than the mean, and a slow one gets as much as any other.
type Random struct{}

// New implements Policy.
func (Random) New(Env) Balancer { return chances{} }

// Validate implements Policy. There is nothing to get wrong.
func (Random) Validate() error { return nil }

type chances struct{}

// Update implements Balancer.
func (chances) Update(eps []*endpoint.Endpoint) Picker {
	c := newChance(members(eps))
	return &c
}

// chance draws one of its members by weight. It is a policy of its own, and
// what policies by hash do with calls that have none.
type chance struct {
	members []member
	lots    lots
}

func newChance(ms []member) chance { return chance{members: ms, lots: newLots(ms)} }

// Pick implements Picker.
func (c *chance) Pick(q Query) *endpoint.Endpoint {
	r := random{q.Draw}
	first := c.members[c.lots.draw(&r)].ep
	if len(q.Avoid) == 0 || !q.Avoids(first) {
		return first
	}
	// To draw again until it fits leaves the others their proportions.
	for range maxDraws {
		if ep := c.members[c.lots.draw(&r)].ep; !q.Avoids(ep) {
			return ep
		}
	}
	if ep := other(c.members, &q); ep != nil {
		return ep
	}
	return first
}
