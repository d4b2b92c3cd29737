package balancer

import (
	"cmp"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// partKey identifies a part; those of one tier differ in the zone only.
type partKey struct {
	priority uint32
	rank     uint8 // within the priority, see Spreader.key
	zone     string
}

func (k partKey) compare(o partKey) int {
	return cmp.Or(cmp.Compare(k.priority, o.priority), cmp.Compare(k.rank, o.rank), cmp.Compare(k.zone, o.zone))
}

// hash is the same in every process.
func (k partKey) hash() uint64 {
	r := random{xxh64.Sum(k.zone, uint64(k.priority)<<8|uint64(k.rank))}
	return r.word()
}

// part is what is known of a part while a division is made.
type part struct {
	key    partKey
	region string // that all its endpoints have
	zone   string
	weight float64 // of the zone in its tier
	cs     []candidate
	// total and avail are the weights of all its endpoints, and of those
	// that nothing holds.
	total, avail float64
	available    int // how many
	panic        bool
	usable       []candidate
	ramping      []load // those that are in their ramps
	steady       float64
}

// candidate is an endpoint that counts.
type candidate struct {
	ep     *endpoint.Endpoint
	index  int // among the members
	weight float64
	sick   bool // held for its health
	ramp   ramp
}

// load is the weight that an endpoint in its ramp will have.
type load struct {
	ramp
	weight float64
}

func (p *part) add(c candidate) {
	p.cs = append(p.cs, c)
	p.total += c.weight
	if !c.sick {
		p.avail += c.weight
		p.available++
	}
}

func (p *part) settle(panics bool, at int64) {
	p.panic = panics
	for _, c := range p.cs {
		if c.sick && !panics {
			continue
		}
		p.usable = append(p.usable, c)
		if c.ramp.end > at {
			p.ramping = append(p.ramping, load{c.ramp, c.weight})
		} else if !c.sick {
			p.steady += c.weight
		}
	}
}

// fit returns the weight of the endpoints that nothing holds, each in the
// measure in which it may be used.
func (p *part) fit(sh shape, at int64, most float64) float64 {
	fit := p.steady
	for _, l := range p.ramping {
		fit += l.weight * sh.factor(l.ramp, at) / most
	}
	return fit
}
