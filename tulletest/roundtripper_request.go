package tulletest

import (
	"net/http"
	"testing"
)

// requestRows are the rules about what becomes of the caller's request.
var requestRows = []row[*clientWorld]{
	{"response keeps the caller's request", func(t testing.TB, w *clientWorld) {
		w.serve(func(http.ResponseWriter, *http.Request) {})
		r := w.request("GET", "/", nil)
		if resp := w.do(r); resp.Request != r {
			t.Errorf("Response.Request is not the request passed to RoundTrip")
		}
	}},
}
