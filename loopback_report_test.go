package tulle_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// Over real sockets, with and without TLS, in both versions of HTTP: a call of
// a second brings two reports, the second in the trailers, beside those that
// the handler sets as one of gRPC does; neither is seen by the caller.
func TestLoopbackLoadReports(t *testing.T) {
	ca := newAuthority(t)
	for name, protocol := range map[string]tulle.Protocol{
		"HTTP/1.1": tulle.HTTP1, "HTTP/2": tulle.HTTP2, "h2c": tulle.H2C,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			server, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 7}}})
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, server.Shutdown(context.Background())) })
			// As that of gRPC answers over net/http: what is known is announced.
			srv := httptest.NewUnstartedServer(server.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h := w.Header()
				h.Set("Content-Type", "application/grpc")
				h["Trailer"] = []string{"Grpc-Status", "Grpc-Message"}
				w.WriteHeader(http.StatusOK)
				overload.AddMetric(r.Context(), "streamed", 1)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for begin := time.Now(); r.URL.Path == "/long" && time.Since(begin) < 1010*time.Millisecond; <-tick.C {
					_, _ = io.WriteString(w, "x")
					_ = http.NewResponseController(w).Flush()
				}
				h.Set("Grpc-Status", "0")
				h.Set(http.TrailerPrefix+"X-Late", "1")
			})))
			c := one("")
			c.Services[0].Protocol, c.Services[0].Classifier = protocol, outcome.GRPC{}
			l := &lessons{}
			c.Services[0].Balancer = learner{lessons: l}
			switch protocol {
			case tulle.HTTP2:
				srv.EnableHTTP2 = true
				srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "reviews")}}
				c.Services[0].TLS = &tulle.TLS{RootCAs: ca.pool}
				srv.StartTLS()
			case tulle.H2C:
				srv.Config.Protocols = new(http.Protocols)
				srv.Config.Protocols.SetUnencryptedHTTP2(true)
				srv.Start()
			default:
				srv.Start()
			}
			t.Cleanup(srv.Close)
			c.Services[0].Resolver = at(srv.Listener.Addr().String())
			m := s.mesh(c)
			for _, path := range []string{"/short", "/long"} {
				resp, err := m.Client().Post("http://reviews"+path, "application/grpc", bytes.NewReader(nil))
				require.NoError(t, err)
				a, err := read(resp, nil)
				require.NoError(t, err)
				assert.Empty(t, strings.Trim(a.body, "x"))
				assert.NotContains(t, resp.Header, endpoint.LoadReportHeader)
				assert.Equal(t, http.Header{"Grpc-Status": {"0"}, "X-Late": {"1"}}, withoutUnset(resp.Trailer))
				e := service(t, m, "reviews").Endpoints[0]
				require.NotNil(t, e.Load)
				assert.EqualValues(t, 7, e.Load.Limit)
				assert.Nil(t, e.RefusedReports)
				assert.Equal(t, path == "/long", len(e.Load.Named) > 0, "what the handler has added after the header")
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			var late []bool
			for _, r := range l.results {
				assert.True(t, r.Reported)
				assert.Equal(t, outcome.Success, r.Class)
				late = append(late, r.Late)
			}
			assert.Equal(t, []bool{false, false, true}, late)
		})
	}
}

// withoutUnset leaves out what was announced and did not come.
func withoutUnset(trailer http.Header) http.Header {
	set := http.Header{}
	for name, values := range trailer {
		if len(values) > 0 {
			set[name] = values
		}
	}
	return set
}
