//go:build linux

package otel_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sink gets what a collector passes on.
type sink struct {
	mu      sync.Mutex
	spans   []span
	metrics map[string]metric
	faults  []string
}

// These are the parts of OTLP's JSON that are looked at.
type (
	attributes []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
	span struct {
		TraceID, SpanID, ParentSpanID, Name string
		Kind                                int
		Attributes                          attributes
	}
	metric struct {
		Name, Unit string
		Histogram  struct {
			DataPoints []struct {
				Attributes     attributes
				ExplicitBounds []float64
				Exemplars      []struct{ TraceID string }
			}
		}
	}
	payload struct {
		ResourceSpans []struct {
			ScopeSpans []struct {
				Scope struct{ Name string }
				Spans []span
			}
		}
		ResourceMetrics []struct {
			ScopeMetrics []struct{ Metrics []metric }
		}
	}
)

func (a attributes) get(key string) string {
	for _, kv := range a {
		if kv.Key == key {
			return kv.Value.StringValue + kv.Value.IntValue
		}
	}
	return ""
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := io.ReadAll(r.Body)
	var p payload
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		s.faults = append(s.faults, err.Error())
	}
	for _, r := range p.ResourceSpans {
		for _, scope := range r.ScopeSpans {
			s.spans = append(s.spans, scope.Spans...)
		}
	}
	for _, r := range p.ResourceMetrics {
		for _, scope := range r.ScopeMetrics {
			for _, m := range scope.Metrics {
				s.metrics[m.Name] = m
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

func (s *sink) look(f func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// startCollector returns the address of a collector that passes everything on
// to s.
func startCollector(t *testing.T, s *sink) string {
	t.Helper()
	to := httptest.NewServer(s)
	t.Cleanup(to.Close)
	addr := freeAddr(t)
	cmd := exec.Command(build(t, "collector"))
	cmd.Env = append(os.Environ(), "CONFIG="+strings.NewReplacer("ADDR", addr, "SINK", to.URL).Replace(`
receivers:
  otlp:
    protocols:
      http:
        endpoint: ADDR
exporters:
  otlp_http:
    endpoint: SINK
    encoding: json
    compression: none
service:
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [otlp_http]
    metrics:
      receivers: [otlp]
      exporters: [otlp_http]
`))
	start(t, cmd)
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "the collector listens")
	return addr
}

// A collector gets what package telemetry documents: calls with their
// attempts, and metrics whose exemplars lead to them.
func TestCollector(t *testing.T) {
	s := &sink{metrics: map[string]metric{}}
	app := startApp(t, startCollector(t, s))
	app.callAll()

	var call span
	attempts := map[string]span{} // by their number
	eventually(t, func() bool {
		return s.look(func() bool {
			for _, c := range s.spans {
				if c.Name != "GET reviews" || c.Attributes.get("tulle.attempts") != "2" || c.Attributes.get("tulle.mirrored") != "" {
					continue
				}
				clear(attempts)
				for _, a := range s.spans {
					if a.ParentSpanID == c.SpanID {
						attempts[a.Attributes.get("http.request.resend_count")] = a
					}
				}
				if call = c; len(attempts) == 2 {
					return true
				}
			}
			return false
		})
	}, "the spans of a call with two attempts")
	const internal, client = 1, 3
	assert.Equal(t, internal, call.Kind)
	assert.Equal(t, "200", call.Attributes.get("http.response.status_code"))
	assert.Equal(t, "canary", call.Attributes.get("tulle.route"))
	for n, a := range attempts {
		assert.Equal(t, client, a.Kind)
		assert.Equal(t, "GET", a.Name)
		assert.Equal(t, call.TraceID, a.TraceID)
		assert.Equal(t, "http://reviews/a?token=REDACTED", a.Attributes.get("url.full"))
		assert.Equal(t, "reviews", a.Attributes.get("server.address"))
		assert.Equal(t, "127.0.0.1", a.Attributes.get("network.peer.address"))
		assert.Equal(t, map[string]string{"": "503", "1": "200"}[n], a.Attributes.get("http.response.status_code"))
		assert.Equal(t, map[string]string{"": "503", "1": ""}[n], a.Attributes.get("error.type"))
	}

	want := documented(t)
	eventually(t, func() bool {
		return s.look(func() bool {
			for name := range want {
				if _, ok := s.metrics[name]; !ok {
					return false
				}
			}
			return true
		})
	}, "all documented metrics")
	s.look(func() bool {
		require.Empty(t, s.faults)
		duration := s.metrics["http.client.request.duration"]
		assert.Equal(t, "s", duration.Unit)
		traces, exemplars := map[string]bool{}, 0
		for _, span := range s.spans {
			traces[span.TraceID] = true
		}
		for _, point := range duration.Histogram.DataPoints {
			assert.Equal(t, []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}, point.ExplicitBounds)
			for _, e := range point.Exemplars {
				exemplars++
				assert.True(t, traces[e.TraceID], "an exemplar of a trace that nobody has")
			}
		}
		assert.Positive(t, exemplars)
		for name := range s.metrics {
			assert.Contains(t, want, name, "is not documented")
		}
		return true
	})
}
