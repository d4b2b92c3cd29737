package tulle_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// A policy that hashes is told the hash of the route's key or, where the
// request does not have that, of the service's.
func TestPoliciesGetTheHashOfTheKey(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		l := &lessons{}
		c := one("10.0.0.1:80")
		c.Services[0].Balancer = learner{lessons: l}
		c.Services[0].Key = &match.Key{Header: "X-Tenant"}
		c.Routes = []tulle.Route{{Name: "r", Match: prefix("/r"), Sticky: &match.Key{Header: "X-User"}}}
		m := w.mesh(c)
		hashes := map[string]uint64{}
		for name, row := range map[string]struct {
			path   string
			header http.Header
		}{
			"neither":   {"/", nil},
			"tenant":    {"/", http.Header{"X-Tenant": {"a"}}},
			"again":     {"/", http.Header{"X-Tenant": {"a"}, "X-User": {"u"}}},
			"other":     {"/", http.Header{"X-Tenant": {"b"}}},
			"user":      {"/r", http.Header{"X-Tenant": {"a"}, "X-User": {"u"}}},
			"no user":   {"/r", http.Header{"X-Tenant": {"a"}}},
			"same user": {"/r", http.Header{"X-Tenant": {"b"}, "X-User": {"u"}}},
		} {
			req, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews"+row.path, nil)
			require.NoError(w, err)
			req.Header = row.header
			if req.Header == nil {
				req.Header = http.Header{}
			}
			_, err = read(m.Transport().RoundTrip(req))
			require.NoError(w, err)
			q := l.queries[len(l.queries)-1]
			assert.Equal(w, name != "neither", q.HasHash, name)
			hashes[name] = q.Hash
		}
		assert.Equal(w, hashes["tenant"], hashes["again"])
		assert.Equal(w, hashes["tenant"], hashes["no user"])
		assert.Equal(w, hashes["user"], hashes["same user"])
		assert.NotEqual(w, hashes["tenant"], hashes["other"])
		assert.NotEqual(w, hashes["tenant"], hashes["user"])
	})
}

// Calls with one key go to one endpoint, and a retry of theirs to one other;
// without a policy that hashes they go anywhere.
func TestCallsOfAKeyStayTogether(t *testing.T) {
	for name, policy := range map[string]balancer.Policy{
		"ring hash": balancer.RingHash{}, "maglev": balancer.Maglev{}, "rendezvous": balancer.Rendezvous{}, "none": balancer.LeastRequest{},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}
				for _, addr := range addrs {
					w.serve(addr, tulletest.Step{Body: addr})
				}
				c := one(addrs...)
				c.Services[0].Balancer, c.Services[0].Key = policy, &match.Key{Header: "X-Tenant"}
				c.Policies.Retry = &retry.Policy{Backoff: retry.Backoff{Base: 1, Max: 1}, Budget: retry.BudgetPolicy{Ratio: -1}}
				m := w.mesh(c)
				homes := map[string]bool{}
				moved := 0
				for tenant := range 40 {
					seen := map[string]bool{}
					for range 8 {
						seen[w.getAs(m, fmt.Sprint(tenant))] = true
					}
					for home := range seen {
						homes[home] = true
					}
					if len(seen) > 1 {
						moved++
						continue
					}
					if tenant < 4 { // its home refuses: it goes to one other, always the same
						home := w.getAs(m, fmt.Sprint(tenant))
						w.net.Refuse(home)
						m.Transport().(interface{ CloseIdleConnections() }).CloseIdleConnections()
						synctest.Wait()
						second := map[string]bool{}
						for range 8 {
							second[w.getAs(m, fmt.Sprint(tenant))] = true
						}
						assert.Len(w, second, 1)
						assert.NotContains(w, second, home)
						w.net.Heal(home)
					}
				}
				if name == "none" {
					assert.NotZero(w, moved)
					return
				}
				assert.Zero(w, moved)
				assert.Len(w, homes, 4, "all take part")
			})
		})
	}
}

// getAs makes a call for a tenant and returns who answered.
func (w *world) getAs(m *tulle.Mesh, tenant string) string {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
	require.NoError(w, err)
	req.Header.Set("X-Tenant", tenant)
	a, err := read(m.Transport().RoundTrip(req))
	require.NoError(w, err)
	return a.body
}
