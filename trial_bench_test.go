package tulle

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
)

// prompt answers at once.
type prompt struct{}

func (prompt) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}

// What a call costs while n of ten thousand endpoints are left out and none of
// them is due: the same, whatever n.
func BenchmarkCallWithLeftOut(b *testing.B) {
	for _, n := range []int{0, 30, 300, 3000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var addrs []string
			for i := range 10000 {
				addrs = append(addrs, fmt.Sprintf("10.0.%d.%d:80", i/250, i%250))
			}
			m, err := New(Config{Services: []Service{{Name: "reviews", Resolver: discovery.Addrs(addrs...)}}, Policies: Policies{Outliers: &health.Outliers{}}},
				WithTransport(prompt{}), WithAttemptMiddleware(func(http.RoundTripper) http.RoundTripper { return prompt{} }))
			if err != nil {
				b.Fatal(err)
			}
			if err := m.Ready(b.Context()); err != nil {
				b.Fatal(err)
			}
			s := m.plan.Load().services["reviews"]
			for _, t := range s.view.Load().members[:n] {
				t.feeds.Load().record.Eject(time.Now())
				t.control.Hold(endpoint.Ejected, "x", time.Now())
			}
			s.stale.Store(true)
			s.build()
			rt := m.Transport()
			req, _ := http.NewRequest("GET", "http://reviews/", nil)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := rt.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
			}
			_ = m.Shutdown(b.Context())
		})
	}
}
