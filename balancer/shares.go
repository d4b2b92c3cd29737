package balancer

import "math"

// partition is a set of endpoints sorted into parts, and parts into tiers.
type partition struct {
	parts []*part
	tiers []tier
	at    int64
	// lost says that all tiers are in panic.
	lost bool
	// chosen is the tier that has all calls under Strict, else -1.
	chosen int
	end    int64 // of the last ramp, 0 if there is none
}

// tier is the parts from first up to last.
type tier struct {
	first, last int
	total       float64 // weight of its endpoints
}

func partitionOf(parts []*part, at int64) *partition {
	set := &partition{parts: parts, at: at, chosen: -1}
	for i, p := range parts {
		if i == 0 || p.key.priority != parts[i-1].key.priority || p.key.rank != parts[i-1].key.rank {
			set.tiers = append(set.tiers, tier{first: i, last: i})
		}
		t := &set.tiers[len(set.tiers)-1]
		t.last++
		t.total += p.total()
	}
	return set
}

func (p *part) total() (sum float64) {
	for i := range p.cs {
		sum += p.cs[i].weight
	}
	return sum
}

// fit returns the weight of the endpoints that nothing holds, each in the
// measure in which it may be used.
func (p *part) fit(factor func(ramp) float64) (sum float64) {
	for i := range p.cs {
		if c := &p.cs[i]; !c.sick {
			sum += c.weight * factor(c.ramp)
		}
	}
	return sum
}

func whole(ramp) float64 { return 1 }

// enough is what counts as all calls, so that a tier of which five of seven
// are available, times 1.4, is not found wanting in the last digit.
const enough = 1 - 1e-9

// capacity is which part of all calls so many available of a total can take.
func capacity(over, available, total float64) float64 {
	if h := over * available / total; h < enough {
		return h
	}
	return 1
}

// settle decides on panic, and with it on who may be used.
func (set *partition) settle(s *Spreader) {
	over, threshold := s.spread.OverProvisioning, s.spread.Panic
	available := make([]float64, len(set.tiers))
	var all float64
	for i, t := range set.tiers {
		for _, p := range set.parts[t.first:t.last] {
			available[i] += p.fit(whole)
		}
		all += capacity(over, available[i], t.total)
		if s.spread.Strict && set.chosen < 0 && available[i] > 0 {
			set.chosen = i
		}
	}
	if s.spread.Strict {
		set.chosen = max(0, set.chosen)
	}
	wanting := all < enough && threshold > 0
	set.lost = wanting
	for i, t := range set.tiers {
		set.lost = set.lost && available[i]/t.total < threshold
	}
	for i, t := range set.tiers {
		// A tier that has no call to take need not take any in panic.
		loaded := available[i] > 0 || set.lost
		if s.spread.Strict {
			loaded = i == set.chosen
		}
		panics := wanting && loaded && available[i]/t.total < threshold
		for _, p := range set.parts[t.first:t.last] {
			p.settle(panics)
		}
	}
	for _, p := range set.parts {
		for i := range p.usable {
			if r := p.usable[i].ramp; r.end > set.at {
				set.end = max(set.end, r.end)
			}
		}
	}
}

func (p *part) settle(panics bool) {
	p.panic = panics
	for _, c := range p.cs {
		if panics || !c.sick {
			p.usable = append(p.usable, c)
		}
	}
}

func (set *partition) usable() bool {
	for _, p := range set.parts {
		if len(p.usable) > 0 {
			return true
		}
	}
	return false
}

// shares returns the share of all calls that each part has at a time.
func (set *partition) shares(s *Spreader, at int64) []float64 {
	most := set.most(s.shape, at)
	factor := func(r ramp) float64 {
		if at >= r.end {
			return 1 / most
		}
		return s.shape.factor(r, at) / most
	}
	over := s.spread.OverProvisioning
	fit := make([]float64, len(set.parts))
	takes := make([]float64, len(set.tiers))
	var all float64
	for i, t := range set.tiers {
		var sum float64
		for j, p := range set.parts[t.first:t.last] {
			fit[t.first+j] = p.fit(factor)
			sum += fit[t.first+j]
		}
		switch {
		case set.chosen >= 0:
			takes[i] = 0
			if i == set.chosen {
				takes[i] = 1
			}
		case set.lost:
			takes[i] = t.total
		default:
			takes[i] = capacity(over, sum, t.total)
		}
		all += takes[i]
	}
	shares := make([]float64, len(set.parts))
	left := 1.0
	for i, t := range set.tiers {
		takes := takes[i]
		if all < enough || set.lost {
			takes /= all
		}
		if takes = min(left, takes); !(takes > 0) {
			continue // or nobody can take anything
		}
		if left -= takes; left < 1-enough {
			left = 0
		}
		set.zones(over, t, takes, fit, shares)
	}
	return shares
}

// zones divides the share of a tier over its parts.
func (set *partition) zones(over float64, t tier, share float64, fit, shares []float64) {
	var sum float64
	for i := t.first; i < t.last; i++ {
		p := set.parts[i]
		shares[i] = p.weight
		if !p.panic {
			shares[i] *= capacity(over, fit[i], p.total())
		}
		sum += shares[i]
	}
	for i := t.first; i < t.last && sum > 0; i++ {
		shares[i] *= share / sum
	}
}

// most returns the largest factor of all endpoints that may be used.
func (set *partition) most(sh shape, at int64) float64 {
	if at >= set.end {
		return 1
	}
	var most float64
	for _, p := range set.parts {
		for i := range p.usable {
			if most = max(most, sh.factor(p.usable[i].ramp, at)); most == 1 {
				return 1
			}
		}
	}
	return cmpOr(most)
}

func cmpOr(f float64) float64 {
	if f == 0 || math.IsNaN(f) {
		return 1
	}
	return f
}
