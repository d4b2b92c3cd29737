package balancer

// partition is a set of endpoints sorted into parts, and parts into tiers.
type partition struct {
	parts []*part
	tiers []tier
	at    int64
	// lost says that all tiers are in panic.
	lost bool
	// chosen is the tier that has all calls under Strict, else -1.
	chosen int
}

// tier is the parts from first up to last.
type tier struct {
	first, last  int
	total, avail float64 // weights, of all its endpoints and of those that nothing holds
}

func partitionOf(parts []*part, at int64) *partition {
	set := &partition{parts: parts, at: at, chosen: -1}
	for i, p := range parts {
		if i == 0 || p.key.priority != parts[i-1].key.priority || p.key.rank != parts[i-1].key.rank {
			set.tiers = append(set.tiers, tier{first: i, last: i})
		}
		t := &set.tiers[len(set.tiers)-1]
		t.last++
		t.total += p.total
		t.avail += p.avail
	}
	return set
}

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
	var all float64
	for i, t := range set.tiers {
		all += capacity(over, t.avail, t.total)
		if s.spread.Strict && set.chosen < 0 && t.avail > 0 {
			set.chosen = i
		}
	}
	if s.spread.Strict {
		set.chosen = max(0, set.chosen)
	}
	short := func(t tier) bool { return all < enough && t.avail/t.total < threshold }
	set.lost = true
	for _, t := range set.tiers {
		set.lost = set.lost && short(t)
	}
	for i, t := range set.tiers {
		// A tier without a call to take need not take any in panic.
		loaded := t.avail > 0 || set.lost
		if s.spread.Strict {
			loaded = i == set.chosen
		}
		for _, p := range set.parts[t.first:t.last] {
			p.settle(loaded && short(t), set.at)
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

// end returns when the last ramp is over.
func (set *partition) end() int64 {
	end := noTime
	for _, p := range set.parts {
		for _, l := range p.ramping {
			end = max(end, l.end)
		}
	}
	return end
}

// shares returns the share of all calls that each part has at a time.
func (set *partition) shares(s *Spreader, at int64) []float64 {
	most := set.most(s.shape, at)
	fit := make([]float64, len(set.parts))
	takes := make([]float64, len(set.tiers))
	var all float64
	for i, t := range set.tiers {
		var sum float64
		for j := t.first; j < t.last; j++ {
			fit[j] = set.parts[j].fit(s.shape, at, most)
			sum += fit[j]
		}
		switch {
		case set.chosen == i:
			takes[i] = 1
		case set.chosen >= 0:
		case set.lost:
			takes[i] = t.total
		default:
			takes[i] = capacity(s.spread.OverProvisioning, sum, t.total)
		}
		all += takes[i]
	}
	shares := make([]float64, len(set.parts))
	left := 1.0
	for i, t := range set.tiers {
		share := takes[i]
		if all < enough || set.lost {
			share /= all
		}
		if share = min(left, share); !(share > 0) {
			continue // NaN is where nobody can take anything
		}
		if left -= share; left < 1-enough {
			left = 0
		}
		set.zones(s.spread.OverProvisioning, t, share, fit, shares)
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
			shares[i] *= capacity(over, fit[i], p.total)
		}
		sum += shares[i]
	}
	for i := t.first; i < t.last && sum > 0; i++ {
		shares[i] *= share / sum
	}
}

// most returns the largest factor of all endpoints that may be used, which
// all others are measured by.
func (set *partition) most(sh shape, at int64) float64 {
	var most float64
	for _, p := range set.parts {
		if len(p.usable) > len(p.ramping) {
			return 1
		}
		for _, l := range p.ramping {
			if most = max(most, sh.factor(l.ramp, at)); most == 1 {
				return 1
			}
		}
	}
	return most
}
