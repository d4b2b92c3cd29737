package mirror

import "net/http"

// Middleware returns a wrapper of RoundTrippers that sends copies to shadow,
// at whatever URL the requests have. nil is http.DefaultTransport for both.
func (m *Mirror) Middleware(shadow http.RoundTripper) func(http.RoundTripper) http.RoundTripper {
	if shadow == nil {
		shadow = http.DefaultTransport
	}
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		return &transport{m, shadow, next}
	}
}

type transport struct {
	mirror       *Mirror
	shadow, next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(t.mirror.Reflect(r, t.shadow.RoundTrip))
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// CloseIdleConnections passes the call on to both.
func (t *transport) CloseIdleConnections() {
	for _, rt := range []http.RoundTripper{t.next, t.shadow} {
		if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}
