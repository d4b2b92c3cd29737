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
	return rule.Action.RoundTrip(t.next, req, hit.prefix)
}

// CloseIdleConnections passes the call on, for [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// RoundTrip carries req, which it does not change, through f to next; prefix is
// that of the [Hit]. Where f answers itself, next is not asked and the body of
// req is closed.
func (f *Filters) RoundTrip(next http.RoundTripper, req *http.Request, prefix string) (*http.Response, error) {
	if answer := f.answer(req, prefix); answer != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		resp := answer.Response(req)
		f.Response.Apply(resp.Header)
		return resp, nil
	}
	resp, err := next.RoundTrip(f.apply(req, prefix))
	if resp == nil {
		return nil, err
	}
	resp.Request = req
	f.ApplyResponse(resp)
	return resp, err
}

// ApplyResponse edits the header of resp, which gets a map of its own if
// anything changes.
func (f *Filters) ApplyResponse(resp *http.Response) {
	if f.Response.IsZero() {
		return
	}
	if resp.Header = maps.Clone(resp.Header); resp.Header == nil {
		resp.Header = make(http.Header)
	}
	f.Response.Apply(resp.Header)
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
