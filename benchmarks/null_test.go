package benchmarks

import (
	"io"
	"net/http"
)

// null is a transport that reads the request's body and answers "ok" at once,
// with one allocation.
type null struct{ header http.Header }

// nullFleet has three endpoints, as many as the loopback one.
func nullFleet() fleet {
	return fleet{
		addrs:     []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"},
		transport: null{http.Header{"Content-Type": {"text/plain"}}},
	}
}

func (n null) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := drain(r); err != nil {
		return nil, err
	}
	return answer(r, http.StatusOK, n.header), nil
}

func drain(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, r.Body)
	if cerr := r.Body.Close(); err == nil {
		err = cerr
	}
	return err
}

// answer returns a response with the body "ok".
func answer(r *http.Request, status int, header http.Header) *http.Response {
	a := &struct {
		http.Response
		body okBody
	}{}
	a.Response = http.Response{
		Status: http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: &a.body, ContentLength: 2, Request: r,
	}
	return &a.Response
}

type okBody struct{ done bool }

func (b *okBody) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	b.done = true
	return copy(p, "ok"), nil
}

func (*okBody) Close() error { return nil }
