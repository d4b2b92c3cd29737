package routing

import (
	"maps"
	"net/http"
)

// Middleware returns a wrapper of round trippers that applies table's filters to
// the requests they are given. A request that no rule matches passes as it is. To
// wrap nil is to wrap [http.DefaultTransport].
func Middleware(table *Table[Filters]) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		return &transport{table, next}
	}
}

type transport struct {
	table *Table[Filters]
	next  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	rule, hit := t.table.find(req)
	if hit == nil || rule.Action.IsZero() {
		return t.next.RoundTrip(req)
	}
	filters := &rule.Action
	if answer := filters.answer(req, hit.prefix); answer != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		resp := answer.Response(req)
		filters.Response.Apply(resp.Header)
		return resp, nil
	}
	resp, err := t.next.RoundTrip(filters.apply(req, hit.prefix))
	if resp == nil {
		return nil, err
	}
	resp.Request = req
	if !filters.Response.IsZero() {
		if resp.Header = maps.Clone(resp.Header); resp.Header == nil {
			resp.Header = make(http.Header)
		}
		filters.Response.Apply(resp.Header)
	}
	return resp, err
}

// CloseIdleConnections passes the call on, for [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// answer returns the response that f gives itself, nil if it gives none.
func (f *Filters) answer(r *http.Request, prefix string) *Direct {
	if f.Redirect != nil {
		direct := f.Redirect.direct(r, prefix)
		return &direct
	}
	return f.Direct
}

// apply returns the request to pass on: r itself if f leaves it alone, else a
// copy of which only what changes is not shared.
func (f *Filters) apply(r *http.Request, prefix string) *http.Request {
	if f.Request.IsZero() && f.Rewrite == nil {
		return r
	}
	r = r.WithContext(r.Context())
	// A nil header is an error that is next's to report.
	if !f.Request.IsZero() && r.Header != nil {
		r.Header = maps.Clone(r.Header)
		f.Request.Apply(r.Header)
	}
	if f.Rewrite != nil {
		f.Rewrite.Apply(r, prefix)
	}
	return r
}
