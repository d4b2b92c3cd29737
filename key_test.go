package tulle_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/match"
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
