package tulle_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// What is wrong with the request itself is nobody's fault but the caller's:
// it is not held against an endpoint and not tried again, whether it is found
// before the request is sent or on the way.
func TestTheCallersFaultIsNotTheEndpoints(t *testing.T) {
	carrying := func(r *http.Request, text string, length int64) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), length
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	http1, both := []tulle.Protocol{tulle.HTTP1}, []tulle.Protocol{tulle.HTTP1, tulle.H2C}
	for name, row := range map[string]struct {
		over  []tulle.Protocol
		spoil func(*http.Request)
	}{
		"no header":                   {both, func(r *http.Request) { r.Header = nil }},
		"field name":                  {both, func(r *http.Request) { r.Header["bad name"] = []string{"x"} }},
		"field value":                 {both, func(r *http.Request) { r.Header["X-A"] = []string{"a\nb"} }},
		"method":                      {both, func(r *http.Request) { r.Method = "PU T" }},
		"control character in query":  {http1, func(r *http.Request) { r.URL.RawQuery = "a=b\x01" }},
		"control character in opaque": {http1, func(r *http.Request) { r.URL.Opaque = "//reviews/a\x7f" }},
		"scheme":                      {both, func(r *http.Request) { r.URL.Scheme = "ftp" }},
		// Over HTTP/2 net/http sends none then, and there is no fault.
		"length without a body":      {http1, func(r *http.Request) { r.ContentLength = 5 }},
		"body shorter than declared": {both, func(r *http.Request) { carrying(r, "abc", 10) }},
		"body longer than declared":  {both, func(r *http.Request) { carrying(r, "abcdef", 3) }},
		"body that breaks": {both, func(r *http.Request) {
			carrying(r, "", -1)
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrNoProgress)))
		}},
		"trailer that is framing": {both, func(r *http.Request) {
			carrying(r, "abc", -1)
			r.Trailer = http.Header{"Content-Length": nil}
		}},
		"trailer name": {both, func(r *http.Request) {
			carrying(r, "abc", -1)
			r.Trailer = http.Header{"bad name": {"x"}}
		}},
	} {
		for _, protocol := range row.over {
			t.Run(name+", "+protocol.String(), func(t *testing.T) {
				inBubble(t, func(w *world) {
					// Late enough for what is on its way to be found out.
					s := w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Second})
					c := one("10.0.0.1:80")
					c.Services[0].Protocol = protocol
					c.Policies.Retry = &retry.Policy{Idempotent: true, On: []outcome.Class{outcome.Connect, outcome.Reset, outcome.Timeout}}
					m := w.mesh(c)
					require.NoError(w, m.Ready(w.Context()))
					req, err := http.NewRequestWithContext(w.Context(), "PUT", "http://reviews/", nil)
					require.NoError(w, err)
					row.spoil(req)
					_, err = read(m.Transport().RoundTrip(req))
					require.Error(w, err)
					assert.Equal(w, outcome.BadRequest, asError(w, err).Reason)
					assert.Equal(w, 1, asError(w, err).Attempts)
					assert.LessOrEqual(w, s.Count(), 1)
					state := service(w, m, "reviews")
					assert.Zero(w, state.Endpoints[0].Failed)
					assert.Zero(w, state.Retries.Retries)
					assert.Zero(w, state.Calls.Active)
				})
			})
		}
	}
}

// The same connection that breaks under a request in good order is held
// against the endpoint, and the call is made again.
func TestARequestInGoodOrderIsTriedAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Fault: tulletest.ResetHeader}, tulletest.Step{})
		c := one("10.0.0.1:80")
		c.Policies = tulle.Recommended()
		m := w.mesh(c)
		a, err := do(w.Context(), m, "PUT", "http://reviews/", "abc")
		require.NoError(w, err)
		assert.Equal(w, 200, a.status)
		assert.Equal(w, 2, s.Count())
		assert.EqualValues(w, 1, service(w, m, "reviews").Endpoints[0].Failed)
	})
}
