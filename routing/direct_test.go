package routing_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/routing"
)

// TestDirectAsSent compares Response with what a client reads from a server that
// runs ServeHTTP.
func TestDirectAsSent(t *testing.T) {
	for _, direct := range []routing.Direct{
		{Status: 200, Body: "hello"},
		{Status: 200},
		{Status: 503, Body: "{}", ContentType: "application/json", Header: []field{{"retry-after", "3"}, {"X-A", "1"}, {"X-A", "2"}}},
		{Status: 204}, {Status: 205}, {Status: 304, Header: []field{{"Etag", `"a"`}}}, {Status: 599},
	} {
		wantFaults(t, direct.Validate())
		server := httptest.NewServer(direct)
		for _, method := range []string{"GET", "HEAD", "POST"} {
			req := request(t, method, server.URL)
			sent, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			made := direct.Response(req)
			if made.Request != req {
				t.Error("Request is not the caller's")
			}
			if method == "HEAD" && sent.ContentLength == -1 {
				sent.ContentLength = 0 // the transport does not ask whether the status allows a body
			}
			if made.Status != sent.Status || made.StatusCode != sent.StatusCode || made.Proto != sent.Proto ||
				made.ProtoMajor != sent.ProtoMajor || made.ProtoMinor != sent.ProtoMinor || made.ContentLength != sent.ContentLength {
				t.Errorf("%d %s: made %+v\nsent %+v", direct.Status, method, made, sent)
			}
			sent.Header.Del("Date")
			for name := range sent.Header {
				if got, want := made.Header.Values(name), sent.Header.Values(name); strings.Join(got, ",") != strings.Join(want, ",") &&
					// net/http tells a client that 205 has no body.
					!(direct.Status == 205 && name == "Content-Length") {
					t.Errorf("%d %s: %s is %q, sent %q", direct.Status, method, name, got, want)
				}
			}
			if a, b := body(t, made), body(t, sent); a != b || method == "HEAD" && a != "" {
				t.Errorf("%d %s: body %q, sent %q", direct.Status, method, a, b)
			}
		}
		server.Close()
	}
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDirectOnTheWire writes a Response and reads it back.
func TestDirectOnTheWire(t *testing.T) {
	for _, status := range []int{200, 204, 304, 404} {
		direct := routing.Direct{Status: status}
		if status == 404 {
			direct.Body = "not here"
		}
		req := request(t, "GET", "http://h/")
		var wire bytes.Buffer
		if err := direct.Response(req).Write(&wire); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(&wire), req)
		if err != nil {
			t.Fatalf("%d: %v", status, err)
		}
		if got := body(t, resp); got != direct.Body || resp.StatusCode != status {
			t.Errorf("%d: %d %q", status, resp.StatusCode, got)
		}
	}
}

func TestDirectFaults(t *testing.T) {
	wantFaults(t, routing.Direct{}.Validate(), "status: ")
	wantFaults(t, routing.Direct{Status: 101}.Validate(), "status: ")
	wantFaults(t, routing.Direct{
		Status: 204, Body: "a", Header: []field{{"a b", "\n"}, {"content-type", "a"}, {"Connection", "close"}}, ContentType: "a\r\nb",
	}.Validate(),
		"header[0].name: ", "header[0].value: ", "header[1].name: ", "header[2].name: ", "body: ", "contentType: ")
	wantFaults(t, routing.Direct{Status: 200, ContentType: "text/html"}.Validate(), "contentType: ")
}
