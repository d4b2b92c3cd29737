package tulle_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/tulletest"
)

// reporting answers with reports in the header and, of the same number of
// values, in the trailers. A second lies between them.
type reporting struct {
	header, trailer []string
	announced       bool
}

func (s *reporting) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h[endpoint.LoadReportHeader] = s.header
	h.Set("Trailer", "X-Sum")
	if s.announced {
		h.Add("Trailer", endpoint.LoadReportHeader)
	}
	_, _ = io.WriteString(w, "first ")
	_ = http.NewResponseController(w).Flush()
	time.Sleep(time.Second)
	_, _ = io.WriteString(w, "last")
	h.Set("X-Sum", "42")
	switch {
	case len(s.trailer) == 0:
		delete(h, endpoint.LoadReportHeader)
	case s.announced:
		h[endpoint.LoadReportHeader] = s.trailer
	default:
		h[http.TrailerPrefix+endpoint.LoadReportHeader] = s.trailer
	}
}

// over runs f with services that speak HTTP/1 and HTTP/2.
func over(t *testing.T, f func(w *world, c tulle.Config)) {
	for _, protocol := range []tulle.Protocol{tulle.HTTP1, tulle.H2C} {
		t.Run(protocol.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				c := one("10.0.0.1:80")
				c.Services[0].Protocol = protocol
				f(w, c)
			})
		})
	}
}

func cpu(v float64) []string { return []string{fmt.Sprintf("TEXT cpu_utilization=%v", v)} }

// Whatever is in a report, whoever sends it, and whether it is believed or not:
// callers do not see it, unless they asked to or the service is not ours.
func TestLoadReportsAreTakenOut(t *testing.T) {
	for name, row := range map[string]struct {
		server  reporting
		at, end float64 // the load that is believed, at the headers and in the end
		refused uint64
		reason  string
	}{
		"none":                 {},
		"header":               {server: reporting{header: cpu(.25)}, at: .25, end: .25},
		"trailer":              {server: reporting{trailer: cpu(.5)}, end: .5},
		"trailer, announced":   {server: reporting{trailer: cpu(.5), announced: true}, end: .5},
		"announced in vain":    {server: reporting{header: cpu(.25), announced: true}, at: .25, end: .25},
		"both":                 {server: reporting{header: cpu(.25), trailer: cpu(.5)}, at: .25, end: .5},
		"both, announced":      {server: reporting{header: cpu(.25), trailer: cpu(.5), announced: true}, at: .25, end: .5},
		"garbage":              {server: reporting{header: cpu(-1), trailer: []string{"garbage"}}, refused: 2, reason: "load report: has no known form"},
		"garbage at the end":   {server: reporting{header: cpu(.25), trailer: cpu(-1)}, at: .25, end: .25, refused: 1, reason: `load report: "cpu_utilization": is out of range`},
		"another form":         {server: reporting{header: []string{"JSON {}"}}, refused: 1, reason: "load report: is not in TEXT form"},
		"twice":                {server: reporting{header: append(cpu(.1), cpu(.2)...)}, refused: 1, reason: "load report: comes more than once"},
		"twice in the trailer": {server: reporting{header: cpu(.25), trailer: append(cpu(.1), cpu(.2)...)}, at: .25, end: .25, refused: 1, reason: "load report: comes more than once"},
	} {
		t.Run(name, func(t *testing.T) {
			over(t, func(w *world, c tulle.Config) {
				w.net.Serve(w.T, "10.0.0.1:80", &row.server)
				kept, foreign := c.Services[0], c.Services[0]
				kept.Name, kept.KeepLoadReports = "kept", true
				foreign.Name, foreign.External = "foreign", true
				c.Services = append(c.Services, kept, foreign)
				m := w.mesh(c)
				for _, host := range []string{"reviews", "kept", "foreign", "10.0.0.1"} {
					resp, err := m.Client().Get("http://" + host + "/")
					require.NoError(w, err)
					load := func() float64 {
						if l := service(w, m, host).Endpoints[0].Load; l != nil {
							return l.CPU
						}
						return 0
					}
					visible := host != "reviews"
					ours := host == "reviews" || host == "kept"
					assert.Equal(w, visible && row.server.header != nil, resp.Header[endpoint.LoadReportHeader] != nil, host)
					if visible {
						assert.Equal(w, row.server.header, resp.Header[endpoint.LoadReportHeader], host)
					}
					_, announced := resp.Trailer[endpoint.LoadReportHeader]
					assert.Equal(w, visible && row.server.announced, announced, host)
					if ours {
						assert.InDelta(w, row.at, load(), 1e-9, host)
					}
					a, err := read(resp, nil)
					require.NoError(w, err)
					assert.Equal(w, "first last", a.body)
					want := http.Header{"X-Sum": {"42"}}
					if visible && row.server.trailer != nil {
						want[endpoint.LoadReportHeader] = row.server.trailer
					} else if visible && row.server.announced {
						want[endpoint.LoadReportHeader] = nil
					}
					assert.Equal(w, want, resp.Trailer, host)
					if ours {
						assert.InDelta(w, row.end, load(), 1e-9, host)
						refused := service(w, m, host).Endpoints[0].RefusedReports
						if row.refused == 0 {
							assert.Nil(w, refused, host)
						} else if assert.NotNil(w, refused, host) {
							assert.Equal(w, row.refused, refused.Count)
							assert.Equal(w, row.reason, refused.Reason)
						}
					} else if host == "foreign" {
						assert.Nil(w, service(w, m, host).Endpoints[0].Load)
						assert.Nil(w, service(w, m, host).Endpoints[0].RefusedReports)
					}
				}
			})
		})
	}
}

// State and the page say what was wrong with a report.
func TestStateTellsOfRefusedReports(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.Serve(w.T, "10.0.0.1:80", &reporting{header: []string{"garbage"}})
		c := one("10.0.0.1:80")
		c.Services[0].KeepLoadReports = true
		m := w.mesh(c)
		w.get(m, "http://reviews/")
		at := time.Now().Add(-time.Second)
		w.get(m, "http://reviews/")
		s := service(w, m, "reviews")
		assert.True(w, s.KeepLoadReports)
		assert.Equal(w, &tulle.RefusedReports{Count: 2, Reason: `load report: has no known form`, At: at.Add(time.Second)}, s.Endpoints[0].RefusedReports)
		rec := httptest.NewRecorder()
		m.Debug().ServeHTTP(rec, httptest.NewRequest("GET", "/", http.NoBody))
		assert.Contains(w, rec.Body.String(), `2 load reports refused, the last 1s ago: load report: has no known form`)
	})
}

// A response that had no trailers but the report has none.
func TestTrailersOfAReportAlone(t *testing.T) {
	over(t, func(w *world, c tulle.Config) {
		for _, announced := range []bool{false, true} {
			addr := fmt.Sprintf("10.0.0.1:%d", 80+len(fmt.Sprint(announced)))
			w.net.Serve(w.T, addr, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				if announced {
					rw.Header().Set("Trailer", endpoint.LoadReportHeader)
				}
				_, _ = io.WriteString(rw, "x")
				_ = http.NewResponseController(rw).Flush()
				rw.Header()[http.TrailerPrefix+endpoint.LoadReportHeader] = cpu(.5)
			}))
			c.Services[0].Resolver = at(addr)
			m := w.mesh(c)
			resp, err := m.Client().Get("http://reviews/")
			require.NoError(w, err)
			assert.Nil(w, resp.Trailer)
			_, err = read(resp, nil)
			require.NoError(w, err)
			assert.Nil(w, resp.Trailer)
			require.NotNil(w, service(w, m, "reviews").Endpoints[0].Load)
		}
	})
}

// The balancer is told of a report in the trailers by a second result in which
// nothing else is new, or by the one that has more to say. Nobody else is.
func TestTrailersAreToldToTheBalancer(t *testing.T) {
	type told struct {
		reported, late bool
		class, was     outcome.Class
	}
	first := told{reported: true, class: outcome.Success}
	header := http.Header{endpoint.LoadReportHeader: cpu(.25)}
	trailer := http.Header{endpoint.LoadReportHeader: cpu(.5)}
	failed := trailer.Clone()
	failed.Set("Grpc-Status", "14")
	for name, row := range map[string]struct {
		step     tulletest.Step
		external bool
		grpc     bool
		use      func(*http.Response)
		want     []told
		load     float64
	}{
		"read to the end": {step: tulletest.Step{Header: header, Body: "abcdef", Trailer: trailer},
			want: []told{first, {true, true, outcome.Success, outcome.Success}}, load: .5},
		"none in the header": {step: tulletest.Step{Body: "abcdef", Trailer: trailer},
			want: []told{{class: outcome.Success}, {true, true, outcome.Success, outcome.Success}}, load: .5},
		"none in the trailers": {step: tulletest.Step{Header: header, Body: "abcdef", Trailer: http.Header{"X-Sum": {"42"}}},
			want: []told{first}, load: .25},
		"garbage": {step: tulletest.Step{Header: header, Body: "abcdef", Trailer: http.Header{endpoint.LoadReportHeader: {"x"}}},
			want: []told{first}, load: .25},
		"a failure": {step: tulletest.Step{Status: 503, Header: header, Body: "abcdef", Trailer: trailer},
			want: []told{{reported: true, class: outcome.Gateway}, {true, true, outcome.Gateway, outcome.Gateway}}, load: .5},
		"a failure that the trailers tell": {step: tulletest.Step{Header: header, Body: "abcdef", Trailer: failed}, grpc: true,
			want: []told{first, {true, true, outcome.Gateway, outcome.Success}}, load: .5},
		"broken": {step: tulletest.Step{Header: header, Body: "abcdef", Trailer: trailer, Fault: tulletest.ResetBody},
			want: []told{first, {false, true, outcome.Reset, outcome.Success}}, load: .25},
		"closed early": {step: tulletest.Step{Header: header, Body: "abcdef", Trailer: trailer},
			use:  func(resp *http.Response) { _, _ = resp.Body.Read(make([]byte, 1)); _ = resp.Body.Close() },
			want: []told{first}, load: .25},
		"external": {step: tulletest.Step{Header: header, Body: "abcdef", Trailer: trailer}, external: true,
			want: []told{{class: outcome.Success}}},
	} {
		t.Run(name, func(t *testing.T) {
			over(t, func(w *world, c tulle.Config) {
				w.serve("10.0.0.1:80", row.step)
				l := &lessons{}
				c.Services[0].Balancer, c.Services[0].External = learner{lessons: l}, row.external
				c.Policies.Outliers = &health.Outliers{}
				if row.grpc {
					c.Services[0].Classifier = outcome.GRPC{}
				}
				m := w.mesh(c)
				resp, err := m.Client().Get("http://reviews/")
				require.NoError(w, err)
				if row.use != nil {
					row.use(resp)
				}
				_, _ = read(resp, nil)
				synctest.Wait()
				var got []told
				for _, r := range l.results {
					got = append(got, told{r.Reported, r.Late, r.Class, r.Was})
				}
				require.Equal(w, row.want, got)
				e := service(w, m, "reviews").Endpoints[0]
				assert.EqualValues(w, 1, e.OK+e.Failed)
				if row.load == 0 {
					assert.Nil(w, e.Load)
				} else if assert.NotNil(w, e.Load) {
					assert.InDelta(w, row.load, e.Load.CPU, 1e-9)
				}
			})
		})
	}
}

// An endpoint may say in its trailers that it is leaving.
func TestTrailersTellOfLeaving(t *testing.T) {
	over(t, func(w *world, c tulle.Config) {
		leaving := []string{string(endpoint.LoadReport{Leaving: true}.AppendText(nil))}
		w.net.Serve(w.T, "10.0.0.1:80", &reporting{header: cpu(.25), trailer: leaving})
		w.serve("10.0.0.2:80")
		c.Services[0].Resolver = at("10.0.0.1:80", "10.0.0.2:80")
		m := w.mesh(fair(c))
		held := func() bool {
			synctest.Wait()
			return !endpointAt(w, service(w, m, "reviews"), "10.0.0.1:80").Available
		}
		for range 2 {
			resp, err := m.Client().Get("http://reviews/")
			require.NoError(w, err)
			assert.False(w, held(), "not before it says so")
			_, err = read(resp, nil)
			require.NoError(w, err)
		}
		assert.True(w, held())
	})
}

// What is in the trailers before the end of the body was read may be half of
// them, and somebody else's to write.
func TestTrailersAreLeftAloneBeforeTheEnd(t *testing.T) {
	middleware := func(http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, Request: r}
			resp.Body = &hasty{resp}
			return resp, nil
		})
	}
	inBubble(t, func(w *world) {
		l := &lessons{}
		c := one("10.0.0.1:80")
		c.Services[0].Balancer = learner{lessons: l}
		m := w.mesh(c, tulle.WithAttemptMiddleware(middleware))
		resp, err := m.Client().Get("http://reviews/")
		require.NoError(w, err)
		_, err = resp.Body.Read(make([]byte, 1))
		require.NoError(w, err)
		require.NotEmpty(w, resp.Trailer)
		require.NoError(w, resp.Body.Close())
		require.Len(w, l.results, 1)
		assert.Nil(w, service(w, m, "reviews").Endpoints[0].Load)
		assert.NotEmpty(w, resp.Trailer)
	})
}

// hasty is a body without end whose trailers come with its first bytes.
type hasty struct{ resp *http.Response }

func (e *hasty) Close() error { return nil }
func (e *hasty) Read(p []byte) (int, error) {
	e.resp.Trailer = http.Header{endpoint.LoadReportHeader: cpu(.5)}
	return len(p), nil
}

// A server that is told to stop says so in the trailers of what is under way,
// though that began under another configuration.
func TestInboundTrailersTellOfLeaving(t *testing.T) {
	over(t, func(w *world, c tulle.Config) {
		server, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{Grace: time.Minute, Overload: &overload.Policy{}}})
		require.NoError(w, err)
		w.net.Serve(w.T, "10.0.0.1:80", server.Handler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, "x")
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(3 * time.Second)
		})))
		m := w.mesh(c)
		resp, err := m.Client().Get("http://reviews/")
		require.NoError(w, err)
		assert.False(w, service(w, m, "reviews").Endpoints[0].Load.Leaving)
		require.NoError(w, server.Apply(tulle.Config{Inbound: tulle.Inbound{Grace: time.Minute, Overload: &overload.Policy{MaxInFlight: 9}}}))
		done := make(chan error, 1)
		go func() { done <- server.Drain(context.Background()) }()
		_, err = read(resp, nil)
		require.NoError(w, err)
		assert.True(w, service(w, m, "reviews").Endpoints[0].Load.Leaving)
		require.NoError(w, <-done)
	})
}

// A copy of a call says nothing to those who judge, and a report in its
// trailers neither.
func TestTrailersOfMirrorsAreNotTold(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80")
		w.net.Serve(w.T, "10.0.0.2:80", &reporting{trailer: cpu(.5)})
		l := &lessons{}
		c := one("10.0.0.1:80")
		c.Services = append(c.Services, tulle.Service{Name: "shadow", Resolver: at("10.0.0.2:80"), Balancer: learner{lessons: l}})
		c.Routes = []tulle.Route{{Name: "r", Match: prefix("/"), Split: []tulle.Destination{{Service: "reviews"}}, Mirrors: []tulle.Mirror{{Service: "shadow"}}}}
		m := w.mesh(c)
		w.get(m, "http://reviews/")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NotNil(w, service(w, m, "shadow").Endpoints[0].Load, "there was one")
		assert.Empty(w, l.results)
	})
}

// Attempt middleware has what the endpoint sent, in the header and, once the
// body was read, in the trailers. Call middleware has what callers get.
func TestWhoSeesLoadReports(t *testing.T) {
	over(t, func(w *world, c tulle.Config) {
		w.net.Serve(w.T, "10.0.0.1:80", &reporting{header: cpu(.25), trailer: cpu(.5)})
		saw := map[string][]string{}
		look := func(who string) tulle.Middleware {
			return func(next http.RoundTripper) http.RoundTripper {
				return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
					resp, err := next.RoundTrip(r)
					if err == nil {
						saw[who] = append(saw[who], resp.Header.Get(endpoint.LoadReportHeader))
						resp.Body = &atEOF{resp.Body, func() { saw[who] = append(saw[who], resp.Trailer.Get(endpoint.LoadReportHeader)) }}
					}
					return resp, err
				})
			}
		}
		m := w.mesh(c, tulle.WithMiddleware(look("call")), tulle.WithAttemptMiddleware(look("attempt")))
		w.get(m, "http://reviews/")
		assert.Equal(w, map[string][]string{"attempt": {cpu(.25)[0], cpu(.5)[0]}, "call": {"", ""}}, saw)
	})
}

// atEOF is a body that tells of the end of the file.
type atEOF struct {
	io.ReadCloser
	ended func()
}

func (c *atEOF) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err == io.EOF {
		c.ended()
	}
	return n, err
}

// A mesh at either end: what a long response says in the end is what the caller
// knows, with what the handler has added since the header. A short one has no
// trailers.
func TestInboundTrailerReachesTheCaller(t *testing.T) {
	over(t, func(w *world, c tulle.Config) {
		server, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 7}}})
		require.NoError(w, err)
		handler := server.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			assert.True(w, overload.AddMetric(r.Context(), "queue", 1))
			assert.True(w, overload.AddMetric(r.Context(), "early", 1))
			_, _ = io.WriteString(rw, "x")
			_ = http.NewResponseController(rw).Flush()
			assert.True(w, overload.AddMetric(r.Context(), "queue", 2))
			if r.URL.Path == "/long" {
				time.Sleep(3 * time.Second)
			}
		}))
		var mu sync.Mutex
		var trailers []http.Header
		w.net.Serve(w.T, "10.0.0.1:80", handler)
		m := w.mesh(c, tulle.WithAttemptMiddleware(func(next http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if err == nil {
					resp.Body = &atEOF{resp.Body, func() {
						mu.Lock()
						defer mu.Unlock()
						trailers = append(trailers, resp.Trailer.Clone())
					}}
				}
				return resp, err
			})
		}))
		load := func() *endpoint.Load { return service(w, m, "reviews").Endpoints[0].Load }
		w.get(m, "http://reviews/short")
		require.NotNil(w, load())
		assert.Equal(w, []endpoint.Metric{{Name: "named_metrics.queue", Value: 1}, {Name: "named_metrics.early", Value: 1}}, load().Named)
		assert.EqualValues(w, 7, load().Limit)
		assert.Equal(w, []http.Header{nil}, trailers)
		before := time.Now()
		go w.get(m, "http://reviews/long")
		time.Sleep(2 * time.Second)
		w.get(m, "http://reviews/long")
		assert.Equal(w, 5*time.Second, time.Since(before))
		assert.Equal(w, time.Now(), load().At)
		assert.Equal(w, []endpoint.Metric{{Name: "named_metrics.queue", Value: 2}, {Name: "named_metrics.early", Value: 1}}, load().Named)
		assert.Zero(w, load().InFlight)
		require.Len(w, trailers, 3)
		assert.Contains(w, trailers[1].Get(endpoint.LoadReportHeader), "rif=1,", "the other one")
		assert.NoError(w, server.Shutdown(context.Background()))
	})
}

// A gateway tells its callers of its own load: what the servers behind it say
// of theirs goes no further, neither through its mesh nor, where that lets it
// pass, through its guard.
func TestGatewaysTellOfThemselves(t *testing.T) {
	for _, external := range []bool{false, true} {
		over(t, func(w *world, c tulle.Config) {
			for i, announced := range []bool{false, true} {
				behind := &reporting{header: cpu(.25), trailer: cpu(.5), announced: announced}
				inner, outer := fmt.Sprintf("10.0.0.%d:80", 1+i), fmt.Sprintf("10.0.1.%d:80", 1+i)
				w.net.Serve(w.T, inner, behind)
				c.Inbound = tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 7}}
				c.Services[0].Resolver, c.Services[0].External = at(inner), external
				m := w.mesh(c)
				proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "reviews"})
				proxy.Transport, proxy.FlushInterval = m.Transport(), -1
				w.net.Serve(w.T, outer, m.Handler(proxy))
				front := one(outer)
				front.Services[0].Protocol, front.Services[0].KeepLoadReports = c.Services[0].Protocol, true
				resp, err := w.mesh(front).Client().Get("http://reviews/")
				require.NoError(w, err)
				require.Len(w, resp.Header[endpoint.LoadReportHeader], 1)
				assert.Contains(w, resp.Header.Get(endpoint.LoadReportHeader), "lim=7")
				assert.NotContains(w, resp.Header.Get(endpoint.LoadReportHeader), "cpu_utilization=0.25")
				_, err = read(resp, nil)
				require.NoError(w, err)
				assert.Equal(w, "42", resp.Trailer.Get("X-Sum"), "others pass")
				require.Len(w, resp.Trailer[endpoint.LoadReportHeader], 1, "external %v, announced %v", external, announced)
				assert.Contains(w, resp.Trailer.Get(endpoint.LoadReportHeader), "lim=7")
				assert.False(w, strings.Contains(resp.Trailer.Get(endpoint.LoadReportHeader), "cpu_utilization=0.5"))
			}
		})
	}
}
