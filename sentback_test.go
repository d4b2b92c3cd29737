package tulle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/retry"
)

// wary picks the first endpoint that is not to be avoided, and expects so many
// requests there.
type wary struct {
	room int
	*told
}

// told is what a policy was told.
type told struct {
	mu      sync.Mutex
	results []outcome.Result
	panics  atomic.Bool // at the next pick
}

func (p wary) Validate() error                                  { return nil }
func (p wary) New(balancer.Env) balancer.Balancer               { return &p }
func (p *wary) Update(eps []*endpoint.Endpoint) balancer.Picker { return &waryPicker{p, eps} }

func (p *wary) Observe(_ *endpoint.Endpoint, r outcome.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results = append(p.results, r)
}

type waryPicker struct {
	*wary
	eps []*endpoint.Endpoint
}

func (p *waryPicker) Pick(q balancer.Query) *endpoint.Endpoint {
	if p.panics.Load() && len(q.Avoid) > 0 {
		panic("plugged in")
	}
	for _, ep := range p.eps {
		if !q.Avoids(ep) {
			return ep
		}
	}
	return p.eps[0]
}

func (p *waryPicker) Room(*endpoint.Endpoint, time.Time) int { return p.room }

const backReport = "TEXT named_metrics.rif=9,named_metrics.back=1"

// busy sends back what says how much it expects. It remembers what it was told
// and what it has worked on.
type busy struct {
	name string
	// always sends back what does not ask too.
	always bool
	report []string
	status int
	// meanwhile is done before an answer is.
	meanwhile func()

	mu     sync.Mutex
	hints  []string
	worked []string
}

func (b *busy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hint := r.Header.Get("Tulle-Call")
	b.mu.Lock()
	b.hints = append(b.hints, hint)
	b.mu.Unlock()
	if b.meanwhile != nil {
		b.meanwhile()
	}
	if b.always || strings.Contains(hint, "r=") {
		w.Header()[endpoint.LoadReportHeader] = b.report
		w.WriteHeader(b.status)
		_, _ = io.WriteString(w, "a problem")
		return
	}
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.worked = append(b.worked, string(body))
	b.mu.Unlock()
	_, _ = io.WriteString(w, b.name)
}

// two serves at two addresses, the first of which is picked first.
func (w *world) two() (first, second *busy) {
	first = &busy{name: "first", report: []string{backReport}, status: http.StatusMisdirectedRequest}
	second = &busy{name: "second", report: []string{backReport}, status: http.StatusMisdirectedRequest}
	w.net.Serve(w.T, "10.0.0.1:80", first)
	w.net.Serve(w.T, "10.0.0.2:80", second)
	return first, second
}

// warily runs f with two endpoints over HTTP/1 and HTTP/2.
func warily(t *testing.T, room int, f func(w *world, c tulle.Config, p wary, first, second *busy)) {
	t.Helper()
	over(t, func(w *world, c tulle.Config) {
		p := wary{room, new(told)}
		c.Services[0].Resolver, c.Services[0].Balancer = at("10.0.0.1:80", "10.0.0.2:80"), p
		first, second := w.two()
		f(w, c, p, first, second)
	})
}

func TestSentBackGoesElsewhere(t *testing.T) {
	for _, body := range []string{"", "the body"} {
		warily(t, 7, func(w *world, c tulle.Config, p wary, first, second *busy) {
			c.Services[0].Policies = tulle.Policies{
				Retry:           &retry.Policy{Attempts: 3, Statuses: []int{421}, Idempotent: true},
				Limit:           &breaker.Limit{InFlight: 1},
				Breaker:         &breaker.Policy{},
				EndpointBreaker: &breaker.Policy{},
			}
			var attempts []tulle.AttemptDone
			var calls []tulle.CallDone
			m := w.mesh(c, tulle.WithHooks(tulle.Hooks{
				AttemptDone: func(d tulle.AttemptDone) { attempts = append(attempts, d) },
				CallDone:    func(d tulle.CallDone) { calls = append(calls, d) },
			}))
			for n := range 20 {
				a, err := do(w.Context(), m, "POST", "http://reviews/", body)
				require.NoError(w, err)
				require.Equal(w, answer{200, "second", a.header}, a)
				require.NotContains(w, a.header, endpoint.LoadReportHeader)
				require.Equal(w, n+1, len(second.worked))
				require.Equal(w, body, second.worked[n])
				// The connection is in its pool before the next call looks for it.
				synctest.Wait()
			}
			assert.Equal(w, slices.Repeat([]string{"r=7"}, 20), first.hints)
			assert.Equal(w, slices.Repeat([]string{""}, 20), second.hints, "who has come back asks for nothing")
			assert.Empty(w, first.worked)
			assert.Equal(w, 1, w.net.Opened("10.0.0.1:80"), "the connection takes the next request")

			require.Len(w, attempts, 40)
			back, then := attempts[0], attempts[1]
			assert.Equal(w, outcome.Outcome{Class: outcome.Neutral, Status: 421, Unsent: true}, back.Result.Outcome)
			assert.True(w, back.Result.SentBack && back.Result.Reported)
			assert.False(w, then.Result.SentBack)
			assert.Equal(w, []any{1, "10.0.0.1:80", 1, "10.0.0.2:80"}, []any{back.Attempt, back.Endpoint, then.Attempt, then.Endpoint})
			assert.Equal(w, 2, calls[0].Attempts)
			assert.Equal(w, []bool{true, false}, []bool{p.results[0].SentBack, p.results[1].SentBack})

			s := service(w, m, "reviews")
			assert.EqualValues(w, 20, s.SentBack)
			assert.Zero(w, s.Retries.Retries)
			assert.EqualValues(w, 20, s.Calls.Status["2xx"])
			one := endpointAt(w, s, "10.0.0.1:80")
			assert.Equal(w, endpoint.LoadReport{InFlight: 9}, one.Load.LoadReport)
			assert.Equal(w, []uint64{0, 0}, []uint64{one.OK, one.Failed})
			assert.Zero(w, one.InFlight)
			assert.Zero(w, endpointAt(w, s, "10.0.0.2:80").InFlight)
			assert.Zero(w, s.Limits[0].InFlight)
			assert.Contains(w, debugText(w, m), "sent back by servers busier than expected: 20")
		})
	}
}

func debugText(w *world, m *tulle.Mesh) string {
	rec := httptest.NewRecorder()
	m.Debug().ServeHTTP(rec, httptest.NewRequestWithContext(w.Context(), "GET", "/", http.NoBody))
	return rec.Body.String()
}

// A call is sent back once at most: the server that has it then works, or says
// what it says.
func TestSentBackOnce(t *testing.T) {
	warily(t, 7, func(w *world, c tulle.Config, _ wary, first, second *busy) {
		second.always = true
		m := w.mesh(c)
		a := w.get(m, "http://reviews/")
		assert.Equal(w, 421, a.status)
		assert.Equal(w, "a problem", a.body)
		assert.Equal(w, []int{1, 1}, []int{len(first.hints), len(second.hints)})
	})
}

// One endpoint gets the call that it has sent back.
func TestSentBackWhereThereIsNoOther(t *testing.T) {
	warily(t, 7, func(w *world, c tulle.Config, _ wary, first, _ *busy) {
		c.Services[0].Resolver = at("10.0.0.1:80")
		a := w.get(w.mesh(c), "http://reviews/")
		assert.Equal(w, "first", a.body)
		assert.Equal(w, []string{"r=7", ""}, first.hints)
	})
}

// The set may have become empty meanwhile: who has sent the call back gets it,
// and it does not wait for others.
func TestSentBackWhereNothingIsLeft(t *testing.T) {
	inBubble(t, func(w *world) {
		first, _ := w.two()
		s := newSource()
		s.set(infos("10.0.0.1:80", "10.0.0.2:80")...)
		c := one()
		c.Services[0].Resolver, c.Services[0].Balancer, c.Services[0].MaxWait = s, wary{7, new(told)}, time.Hour
		m := w.mesh(c)
		require.NoError(w, m.Ready(w.Context()))
		first.meanwhile = func() {
			s.set()
			synctest.Wait()
		}
		begin := time.Now()
		assert.Equal(w, "first", w.get(m, "http://reviews/").body)
		assert.Less(w, time.Since(begin), time.Minute)
		assert.Equal(w, []string{"r=7", ""}, first.hints)
	})
}

// Judges of one's own need not tell the status.
type lazyJudge struct{}

func (lazyJudge) Classify(resp *http.Response, err error) outcome.Outcome {
	if err == nil && resp.StatusCode < 500 {
		return outcome.Outcome{Class: outcome.Success}
	}
	return outcome.HTTP{}.Classify(resp, err)
}

func TestSentBackWhateverTheJudgeSays(t *testing.T) {
	warily(t, 7, func(w *world, c tulle.Config, _ wary, _, _ *busy) {
		c.Services[0].Classifier = lazyJudge{}
		assert.Equal(w, "second", w.get(w.mesh(c), "http://reviews/").body)
	})
}

// Who gets a call late, because another has kept it before sending it back, is
// not to blame for a limit that passes. Who has had time enough is.
func TestSentBackLate(t *testing.T) {
	for name, row := range map[string]struct {
		policies tulle.Policies
		late     time.Duration
		blamed   bool
	}{
		"late for an attempt":     {tulle.Policies{Retry: &retry.Policy{PerTry: time.Second}}, 950 * time.Millisecond, false},
		"late for a call":         {tulle.Policies{Timeout: time.Second}, 950 * time.Millisecond, false},
		"in time for an attempt":  {tulle.Policies{Retry: &retry.Policy{PerTry: time.Second}}, 50 * time.Millisecond, true},
		"in time for a whole one": {tulle.Policies{Timeout: time.Second}, 50 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			warily(t, 7, func(w *world, c tulle.Config, _ wary, first, second *busy) {
				c.Services[0].Policies = row.policies
				first.meanwhile = func() { time.Sleep(row.late) }
				second.meanwhile = func() { time.Sleep(1500 * time.Millisecond) }
				m := w.mesh(c)
				_, err := do(w.Context(), m, "POST", "http://reviews/", "body")
				require.Error(w, err)
				s := service(w, m, "reviews")
				assert.Zero(w, endpointAt(w, s, "10.0.0.1:80").Failed)
				assert.Equal(w, row.blamed, endpointAt(w, s, "10.0.0.2:80").Failed == 1)
				time.Sleep(2 * time.Second) // until the handler returns
			})
		})
	}
}

// A retry goes neither to who has sent the call back nor to who has failed it.
func TestSentBackAndRetried(t *testing.T) {
	inBubble(t, func(w *world) {
		first, second := w.two()
		second.always, second.status, second.report = true, 503, nil
		third := &busy{name: "third"}
		w.net.Serve(w.T, "10.0.0.3:80", third)
		c := one("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
		c.Services[0].Balancer = wary{7, new(told)}
		c.Policies.Retry = &retry.Policy{}
		m := w.mesh(c)
		assert.Equal(w, "third", w.get(m, "http://reviews/").body)
		assert.Equal(w, []string{"r=7"}, first.hints)
		assert.Equal(w, []string{""}, second.hints)
		assert.Equal(w, []string{"a=2"}, third.hints)
		s := service(w, m, "reviews")
		assert.EqualValues(w, 1, s.SentBack)
		assert.EqualValues(w, 1, s.Retries.Retries)
	})
}

// What only looks like it is a response as any other.
func TestSentBackIsBelievedOf(t *testing.T) {
	for name, change := range map[string]func(first *busy, room *int){
		"no report":           func(b *busy, _ *int) { b.report = nil },
		"another report":      func(b *busy, _ *int) { b.report = []string{"TEXT named_metrics.rif=9"} },
		"two reports":         func(b *busy, _ *int) { b.report = append(b.report, b.report...) },
		"a broken report":     func(b *busy, _ *int) { b.report = []string{backReport + ",x"} },
		"another status":      func(b *busy, _ *int) { b.status = http.StatusServiceUnavailable },
		"nobody asked for it": func(b *busy, room *int) { b.always, *room = true, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				first, second := w.two()
				room := 7
				change(first, &room)
				c := one("10.0.0.1:80", "10.0.0.2:80")
				c.Services[0].Balancer = wary{room, new(told)}
				m := w.mesh(c)
				a := w.get(m, "http://reviews/")
				assert.Equal(w, first.status, a.status)
				assert.Equal(w, "a problem", a.body)
				assert.Empty(w, second.hints)
				assert.Zero(w, service(w, m, "reviews").SentBack)
			})
		})
	}
}

// Nobody asks whose request could not be sent again, or on whose answer more
// depends.
func TestSentBackIsNotAskedFor(t *testing.T) {
	request := func(method, body string) *http.Request {
		r, err := http.NewRequest(method, "http://reviews/", strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		return r
	}
	for name, row := range map[string]struct {
		request *http.Request
		change  func(c *tulle.Config)
		hints   []string // at the first endpoint
	}{
		"control": {request: request("POST", strings.Repeat("x", 64<<10)), hints: []string{"r=7"}},
		"a body that is read once": {request: func() *http.Request {
			r := request("POST", "x")
			r.GetBody = nil
			return r
		}()},
		"a body that is kept for retries": {
			request: func() *http.Request {
				r := request("POST", "x")
				r.GetBody = nil
				return r
			}(),
			change: func(c *tulle.Config) { c.Policies.Retry = &retry.Policy{Idempotent: true} },
		},
		"CONNECT": {request: request("CONNECT", "")},
		"trailers": {request: func() *http.Request {
			r := request("POST", "x")
			r.Trailer = http.Header{"X-Sum": nil}
			return r
		}(), hints: []string{""}},
		"a body without a length": {request: func() *http.Request {
			r := request("POST", "x")
			r.ContentLength = -1
			return r
		}()},
		"a long body": {request: request("POST", strings.Repeat("x", 64<<10+1))},
		"an upgrade": {request: func() *http.Request {
			r := request("GET", "")
			r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
			return r
		}()},
		"an External service": {request: request("GET", ""), change: func(c *tulle.Config) { c.Services[0].External = true }},
		"a copy": {request: request("GET", ""), hints: []string{"d=10000, m"}, change: func(c *tulle.Config) {
			c.Services = append(c.Services, tulle.Service{Name: "other", Resolver: at("10.0.0.2:80")})
			c.Routes = []tulle.Route{{Name: "all", Match: prefix("/"), Split: to(tulle.Destination{Service: "other"}), Mirrors: []tulle.Mirror{{Service: "reviews"}}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				first, _ := w.two()
				c := one("10.0.0.1:80", "10.0.0.2:80")
				c.Services[0].Balancer = wary{7, new(told)}
				if row.change != nil {
					row.change(&c)
				}
				if row.hints == nil {
					row.hints = []string{""}
				}
				_, err := read(w.mesh(c).Transport().RoundTrip(row.request))
				require.NoError(w, err)
				synctest.Wait()
				assert.Equal(w, row.hints, first.hints)
			})
		})
	}
}

// What a call holds of its service goes with it: a place under the limit, the
// trial of a breaker. Whatever happens on the way, it is given back.
func TestSentBackKeepsThePlace(t *testing.T) {
	for name, row := range map[string]struct {
		spoil func(r *http.Request, p wary) (closed func() bool)
		error outcome.Reason
		panic bool
	}{
		"goes well": {},
		"the body is not to be had again": {
			spoil: func(r *http.Request, _ wary) func() bool {
				r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
				return nil
			},
			error: outcome.BadRequest,
		},
		"the policy panics": {
			spoil: func(r *http.Request, p wary) func() bool {
				p.panics.Store(true)
				var b closeNoted
				r.GetBody = func() (io.ReadCloser, error) { return &b, nil }
				return b.closed.Load
			},
			panic: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			warily(t, 7, func(w *world, c tulle.Config, p wary, first, second *busy) {
				c.Services[0].Policies = tulle.Policies{
					Limit:   &breaker.Limit{InFlight: 1},
					Breaker: &breaker.Policy{Consecutive: 1, OpenFor: time.Second, HalfOpenCalls: 1},
				}
				m := w.mesh(c)
				first.status, first.report = 500, nil
				require.Equal(w, 500, w.get(m, "http://reviews/").status)
				require.Equal(w, breaker.Open, service(w, m, "reviews").Breakers[0].State)
				first.status, first.report = second.status, second.report
				time.Sleep(2 * time.Second)
				r, err := http.NewRequestWithContext(w.Context(), "POST", "http://reviews/", strings.NewReader("body"))
				require.NoError(w, err)
				var closed func() bool
				if row.spoil != nil {
					closed = row.spoil(r, p)
				}
				func() {
					defer func() { assert.Equal(w, row.panic, recover() != nil) }()
					a, err := read(m.Transport().RoundTrip(r))
					if row.error != outcome.NoReason {
						assert.Equal(w, row.error, asError(w, err).Reason)
						return
					}
					require.NoError(w, err)
					assert.Equal(w, "second", a.body)
				}()
				p.panics.Store(false)
				assert.True(w, closed == nil || closed(), "the body that was had anew")
				s := service(w, m, "reviews")
				assert.Zero(w, s.Limits[0].InFlight)
				for _, e := range s.Endpoints {
					assert.Zero(w, e.InFlight, e.Addr)
				}
				if row.spoil == nil {
					assert.Equal(w, breaker.Closed, s.Breakers[0].State, "the trial was the whole call")
				}
				// The next call finds a place, and the trial if it is still to be made.
				assert.Equal(w, 200, w.get(m, "http://reviews/").status)
			})
		})
	}
}

// What a handler was told goes no further: whoever is called next would answer
// somebody who did not ask.
func TestSentBackIsNotPassedOn(t *testing.T) {
	for _, external := range []bool{false, true} {
		inBubble(t, func(w *world) {
			first, _ := w.two()
			c := one("10.0.0.1:80")
			c.Services[0].External = external
			r, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", http.NoBody)
			require.NoError(w, err)
			r.Header.Set("Tulle-Call", "d=5, r=5")
			a, err := read(w.mesh(c).Transport().RoundTrip(r))
			require.NoError(w, err)
			assert.Equal(w, "first", a.body)
			assert.Equal(w, []string{""}, first.hints)
			assert.Equal(w, "d=5, r=5", r.Header.Get("Tulle-Call"), "the caller's own is left alone")
		})
	}
}

// closeNoted is a body that notes that it was closed.
type closeNoted struct{ closed atomic.Bool }

func (b *closeNoted) Read([]byte) (int, error) { return 0, io.EOF }

func (b *closeNoted) Close() error {
	b.closed.Store(true)
	return nil
}

// A span and a sample each, neither of which is an error, and a count.
func TestSentBackIsWatched(t *testing.T) {
	inBubble(t, func(w *world) {
		w.two()
		c := one("10.0.0.1:80", "10.0.0.2:80")
		c.Services[0].Balancer = wary{7, new(told)}
		traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
		m := w.mesh(c, tulle.WithTracerProvider(traces), tulle.WithMeterProvider(meters))
		w.get(m, "http://reviews/")
		spans := traces.Spans()
		require.Len(w, spans, 3)
		for i, want := range []map[string]string{
			{"network.peer.address": "10.0.0.1", "http.response.status_code": "421"},
			{"network.peer.address": "10.0.0.2", "http.response.status_code": "200", "http.request.resend_count": "1"},
		} {
			got := spans[i+1].Attributes()
			for _, key := range []string{"network.peer.address", "http.response.status_code", "http.request.resend_count", "error.type"} {
				assert.Equal(w, want[key], got[key], "%s of attempt %d", key, i+1)
			}
		}
		assert.Equal(w, []string{"tulle.sent_back"}, spans[1].Events())
		endedOnce(w, traces)
		recorded := meters.Recorded("http.client.request.duration")
		require.Len(w, recorded, 2)
		assert.Contains(w, recorded[0].Attributes, "status_code=421")
		assert.NotContains(w, recorded[0].Attributes, "error.type")
		got, err := meters.Collect()
		require.NoError(w, err)
		assert.InDelta(w, 1, got["tulle.attempt.sent_back{tulle.service=reviews}"], 0)
	})
}

// Of many calls at once, some of which are cut off, each is worked on once, and
// nothing stays behind; where servers work on what they send back, twice.
func TestSentBackIsWorkedOnOnce(t *testing.T) {
	for _, lies := range []bool{false, true} {
		over(t, func(w *world, c tulle.Config) {
			var mu sync.Mutex
			worked := map[string]int{}
			var addrs []string
			rng := seeded(7)
			for n := range 5 {
				addrs = append(addrs, fmt.Sprintf("10.0.0.%d:80", n+1))
				w.net.Serve(w.T, addrs[n], http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Duration(rng() % uint64(3*time.Millisecond)))
					back := strings.Contains(r.Header.Get("Tulle-Call"), "r=") && rng()%2 == 0
					if !back || lies {
						id, err := io.ReadAll(r.Body)
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							worked[string(id)]++
						}
					}
					if back {
						rw.Header().Set(endpoint.LoadReportHeader, backReport)
						rw.WriteHeader(http.StatusMisdirectedRequest)
					}
				}))
			}
			c.Services[0].Resolver, c.Services[0].Balancer = at(addrs...), wary{3, new(told)}
			c.Services[0].Policies = tulle.Policies{
				Limit: &breaker.Limit{InFlight: 50, Waiting: 500}, Breaker: &breaker.Policy{}, EndpointBreaker: &breaker.Policy{},
				Retry: &retry.Policy{}, Timeout: time.Minute,
			}
			m := w.mesh(c)
			var calls sync.WaitGroup
			var answered sync.Map
			for n := range 500 {
				calls.Go(func() {
					ctx := w.Context()
					if n%5 == 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, time.Duration(rng()%uint64(4*time.Millisecond)))
						defer cancel()
					}
					id := fmt.Sprint(n)
					if a, err := do(ctx, m, "POST", "http://reviews/", id); err == nil && a.status == 200 {
						answered.Store(id, true)
					} else if n%5 != 0 {
						w.Errorf("call %d: %v %v", n, a.status, err)
					}
				})
			}
			calls.Wait()
			synctest.Wait()
			twice, none := 0, 0
			for n := range 500 {
				id := fmt.Sprint(n)
				if worked[id] > 1 {
					twice++
				}
				if _, ok := answered.Load(id); ok && worked[id] == 0 {
					none++
				}
			}
			assert.Equal(w, lies, twice > 50, "%d calls were worked on twice", twice)
			if !lies {
				assert.Zero(w, twice)
			}
			assert.Zero(w, none, "calls answered without any work")
			s := service(w, m, "reviews")
			assert.Greater(w, s.SentBack, uint64(100))
			assert.Zero(w, s.Limits[0].InFlight)
			for _, e := range s.Endpoints {
				assert.Zero(w, e.InFlight, e.Addr)
				// A caller whose deadline is as late as most answers may blame one.
				assert.Less(w, e.Failed, uint64(10), e.Addr)
			}
		})
	}
}

// Between processes that have meshes nobody needs to say anything: callers ask
// by default, servers with a guard send back, and both count the same.
func TestSentBackBetweenMeshes(t *testing.T) {
	for name, policy := range map[string]balancer.Policy{"by default": nil, "never": balancer.LoadFed{SendBack: -1}} {
		t.Run(name, func(t *testing.T) {
			over(t, func(w *world, c tulle.Config) {
				var worked atomic.Int64
				var servers, callers []*tulle.Mesh
				var addrs []string
				rng := seeded(3)
				for n := range 4 {
					server := w.mesh(tulle.Config{Inbound: tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 2, Waiting: 100, MaxWait: time.Minute}}})
					servers, addrs = append(servers, server), append(addrs, fmt.Sprintf("10.0.0.%d:80", n+1))
					w.net.Serve(w.T, addrs[n], server.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						worked.Add(1)
						time.Sleep(time.Duration(10+rng()%40) * time.Millisecond)
						_, _ = io.Copy(io.Discard, r.Body)
					})))
				}
				c.Services[0].Resolver, c.Services[0].Balancer = at(addrs...), policy
				c.Services[0].Policies.Retry = &retry.Policy{}
				for n := range 20 {
					callers = append(callers, w.mesh(c, tulle.WithRand(seeded(uint64(n)))))
				}
				const each = 30
				var wg sync.WaitGroup
				for n, m := range callers {
					wg.Go(func() {
						for k := range each {
							time.Sleep(time.Duration(rng()%150) * time.Millisecond)
							a, err := do(w.Context(), m, "POST", "http://reviews/", strings.Repeat("x", k))
							if err != nil || a.status != 200 {
								w.Errorf("caller %d: %v %v", n, a, err)
							}
						}
					})
				}
				wg.Wait()
				back, again := uint64(0), uint64(0)
				for _, m := range servers {
					s := m.State().Inbound
					back += s.Overload.SentBack
					assert.Zero(w, s.Overload.Refused)
					assert.Zero(w, s.Calls.Status["5xx"])
				}
				for _, m := range callers {
					s := service(w, m, "reviews")
					again += s.SentBack
					assert.Zero(w, s.Retries.Retries)
				}
				assert.Equal(w, back, again)
				w.Logf("%d of %d came back", back, worked.Load())
				assert.Equal(w, policy == nil, back > 0)
				assert.EqualValues(w, len(callers)*each, worked.Load())
			})
		})
	}
}
