package benchmarks

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

// Each row of the server's side does what it says, and not what it does not
// say.
func TestGates(t *testing.T) {
	d := newDoor(t, ample, placesInFlight)
	inAnHour := time.Now().Add(time.Hour)
	alice := d.token(t, tokenSubject, inAnHour)
	status := func(claimed bool, refused int) int {
		if claimed {
			return refused
		}
		return http.StatusOK
	}
	for _, s := range gates() {
		t.Run(s.name, func(t *testing.T) {
			t.Run("tokens", func(t *testing.T) {
				h := s.wrap(t, d, http.HandlerFunc(answerOK))
				for name, token := range map[string]string{
					"of another": newDoor(t, 0, 0).token(t, tokenSubject, inAnHour), "expired": d.token(t, tokenSubject, time.Now().Add(-time.Hour)), "none": "",
				} {
					require.Equal(t, status(s.authenticates, http.StatusUnauthorized), newVisitor(h, token).visit(), name)
				}
				require.Equal(t, status(s.authorizes, http.StatusForbidden), newVisitor(h, d.token(t, "mallory", inAnHour)).visit())
				for range 3 {
					require.Equal(t, http.StatusOK, newVisitor(h, alice).visit())
				}
			})
			t.Run("limit", func(t *testing.T) {
				h := s.wrap(t, door{d.key, 5, placesInFlight}, http.HandlerFunc(answerOK))
				refused := 0
				v := newVisitor(h, alice)
				for range 50 {
					if v.visit() == http.StatusTooManyRequests {
						refused++
					}
				}
				require.Equal(t, s.limits, refused > 0)
				v.request.RemoteAddr = "192.0.2.2:49152"
				require.Equal(t, http.StatusOK, v.visit(), "another address")
			})
			t.Run("places", func(t *testing.T) {
				var inner int
				var h http.Handler
				h = s.wrap(t, door{d.key, ample, 1}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("X-Inner") == "" {
						v := newVisitor(h, alice)
						v.request.Header.Set("X-Inner", "1")
						inner = v.visit()
					}
				}))
				require.Equal(t, http.StatusOK, newVisitor(h, alice).visit())
				require.Equal(t, s.bounds, inner >= 400, "status %d", inner)
			})
			t.Run("trace and report", func(t *testing.T) {
				traced := false
				h := s.wrap(t, d, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					traced = trace.SpanContextFromContext(r.Context()).IsValid()
				}))
				v := newVisitor(h, alice)
				v.request.RemoteAddr = "127.0.0.1:49152" // whose trace is believed
				v.visit()
				require.Equal(t, s.traces, traced)
				require.Equal(t, s.reports, v.header.Get("Endpoint-Load-Metrics") != "")
			})
		})
	}
}
