package balancer_test

import (
	"fmt"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// hashing are the policies that choose by the hash of a call.
var hashing = map[string]balancer.Policy{
	"ring hash": balancer.RingHash{}, "Maglev": balancer.Maglev{}, "rendezvous": balancer.Rendezvous{},
}

// modulo is the negative control of hashing: it takes endpoint hash mod n.
var modulo = faultyPolicy{&faulty{name: "modulo", pick: func(eps []*endpoint.Endpoint, q balancer.Query) *endpoint.Endpoint {
	return eps[q.Hash%uint64(len(eps))]
}}}

func keyHash(i int) uint64 { return xxh64.Sum(fmt.Sprintf("user-%d", i), 0) }

// owners returns the addresses to which p sends keys that are numbered.
func owners(p balancer.Policy, eps []*endpoint.Endpoint, keys int) []string {
	picker := p.New(balancer.Env{}).Update(eps)
	to := make([]string, keys)
	for i := range to {
		to[i] = picker.Pick(balancer.Query{Hash: keyHash(i), HasHash: true}).Addr()
	}
	return to
}
