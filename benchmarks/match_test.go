package benchmarks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/julienschmidt/httprouter"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// matchers find which of n rules, each for a host and a prefix of the path, a
// request is for. The requests go to all rules in turn.
func matchers() []part {
	return []part{
		{"host_and_path", "tulle", table(false)},
		{"host_and_path", "ServeMux", router(func(rules []place) http.Handler {
			mux := http.NewServeMux()
			for _, p := range rules {
				mux.Handle(p.host+p.path+"/", p)
			}
			return mux
		})},
		{"host_and_path", "map_of_hosts+httprouter", byHost(func(rules []place) http.Handler {
			r := httprouter.New()
			for _, p := range rules {
				r.Handler(http.MethodGet, p.path+"/*rest", p)
			}
			return r
		})},
		{"host_and_path", "map_of_hosts+chi", byHost(func(rules []place) http.Handler {
			r := chi.NewRouter()
			for _, p := range rules {
				r.Handle(p.path+"/*", p)
			}
			return r
		})},
		{"host,_path_and_header", "tulle", table(true)},
	}
}

func BenchmarkMatch(b *testing.B) {
	benchmarkParts(b, matchers(), partCase{name: "10_serial", n: 10}, partCase{name: "1000_serial", n: 1000})
}

// Each request finds its rule.
func TestMatchers(t *testing.T) {
	const n = 100
	for _, p := range matchers() {
		t.Run(p.sort+"/"+p.name, func(t *testing.T) {
			find := p.start(t, n)()
			for i := range 2 * n {
				found, err := find(i)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint("rule-", i%n), found)
			}
		})
	}
}

// hosts is how many hosts the rules are of.
const hosts = 16

// place is the host and path of a rule, and the handler that says so.
type place struct{ name, host, path string }

func places(n int) []place {
	all := make([]place, n)
	for i := range all {
		all[i] = place{fmt.Sprint("rule-", i), fmt.Sprintf("host-%d.example.com", i%hosts), fmt.Sprintf("/api/v1/service-%d", i)}
	}
	return all
}

// finding is a response writer that learns which rule was found.
type finding struct {
	http.ResponseWriter
	rule string
}

func (p place) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.(*finding).rule = p.name }

func (p place) request(tb testing.TB) *http.Request {
	r, err := http.NewRequest(http.MethodGet, "http://"+p.host+p.path+"/items/42", nil)
	require.NoError(tb, err)
	r.RequestURI = r.URL.RequestURI()
	return r
}

var errNoRule = errors.New("no rule, or another one")

// table is a routing.Table. With headers, each two rules have one host and
// path, and one of them a condition on a header as well.
func table(headers bool) func(testing.TB, int) asked {
	return func(tb testing.TB, n int) asked {
		rules, all := make([]routing.Rule[int], n), places(n)
		for i := range rules {
			if headers && i%2 == 1 {
				all[i].host, all[i].path = all[i-1].host, all[i-1].path
			}
			m := match.Request{Hosts: []string{all[i].host}, Path: match.Path{Prefix: all[i].path}}
			if headers && i%2 == 1 {
				m.Headers = []match.Value{{Name: "x-canary", Exact: "always"}}
			}
			rules[i] = routing.Rule[int]{Name: all[i].name, Match: []match.Request{m}, Action: i}
		}
		t, err := routing.Compile(rules)
		require.NoError(tb, err)
		return func() turn {
			requests := make([]*http.Request, n)
			for i := range requests {
				requests[i] = all[i].request(tb)
				if headers && i%2 == 1 {
					requests[i].Header.Set("X-Canary", "always")
				}
			}
			return func(i int) (string, error) {
				i %= n
				hit, ok := t.Match(requests[i])
				if !ok || hit.Action != i {
					return "", errNoRule
				}
				return hit.Name, nil
			}
		}
	}
}

// router is a handler that calls the one of the rule.
func router(build func([]place) http.Handler) func(testing.TB, int) asked {
	return func(tb testing.TB, n int) asked {
		all := places(n)
		h := build(all)
		return func() turn {
			requests := make([]*http.Request, n)
			for i := range requests {
				requests[i] = all[i].request(tb)
			}
			w := &finding{}
			return func(i int) (string, error) {
				i %= n
				h.ServeHTTP(w, requests[i])
				if w.rule != all[i].name {
					return "", errNoRule
				}
				return w.rule, nil
			}
		}
	}
}

// byHost puts a map before routers that know paths only.
func byHost(build func([]place) http.Handler) func(testing.TB, int) asked {
	return router(func(all []place) http.Handler {
		rules := map[string][]place{}
		for _, p := range all {
			rules[p.host] = append(rules[p.host], p)
		}
		routers := make(hostMap, len(rules))
		for host, of := range rules {
			routers[host] = build(of)
		}
		return routers
	})
}

type hostMap map[string]http.Handler

func (m hostMap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	if h := m[host]; h != nil {
		h.ServeHTTP(w, r)
	}
}
