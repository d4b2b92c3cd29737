package benchmarks

import (
	"net/http"
	"sync/atomic"
)

// roundRobin is the least that balances: a counter, and a copy of the request
// with another host in its URL. It knows nothing of in-flight calls, and
// attempts of one call may meet the same endpoint again.
type roundRobin struct {
	fleet
	next atomic.Uint64
}

func newRoundRobin(f fleet) *roundRobin { return &roundRobin{fleet: f} }

func (r *roundRobin) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.WithContext(req.Context())
	u := *req.URL
	u.Host = r.addrs[r.next.Add(1)%uint64(len(r.addrs))]
	out.URL = &u
	if out.Host == "" {
		out.Host = req.URL.Host
	}
	resp, err := r.transport.RoundTrip(out)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}
