//go:build !race

package tulletest

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// differing makes a wrap that answers preflights by preflight, and what next
// panics with by panicked.
func differing(preflight func(http.ResponseWriter), panicked func(rw http.ResponseWriter, begun bool, v any)) func(http.Handler) http.Handler {
	return around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(rw)
			return
		}
		h := &headerWriter{ResponseWriter: rw, change: func(http.Header) {}}
		defer func() {
			if v := recover(); v != nil {
				panicked(rw, h.changed, v)
			}
		}()
		next.ServeHTTP(disguise(rw, h), r)
	})
}

// proto returns the major version of the protocol that a writer is for.
func proto(rw http.ResponseWriter) int {
	if has[http.Pusher](rw) {
		return 2
	}
	return 1
}

// A difference is allowed as it is described, and in no other way; nor is it
// where it is not known.
func TestDifferences(t *testing.T) {
	noContent := func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusNoContent) }
	answer := func(rw http.ResponseWriter, status int) {
		rw.Header().Set("Content-Length", "7")
		if proto(rw) == 1 {
			rw.Header().Set("Connection", "close")
		}
		rw.WriteHeader(status)
		io.WriteString(rw, "problem")
		http.NewResponseController(rw).Flush()
	}
	well := func(rw http.ResponseWriter, begun bool, v any) {
		if !begun && v != any(http.ErrAbortHandler) {
			answer(rw, 500)
		}
		panic(v)
	}
	const panics, written, options = "panics pass through", "nothing is written after a panic", "OPTIONS is the handler's to answer"
	for _, c := range []struct {
		name      string
		preflight func(http.ResponseWriter)
		panicked  func(rw http.ResponseWriter, begun bool, v any)
		failed    []string
	}{
		{"as described", noContent, well, nil},
		{"another status", noContent, func(rw http.ResponseWriter, begun bool, v any) {
			if !begun && v != any(http.ErrAbortHandler) {
				answer(rw, 503)
			}
			panic(v)
		}, []string{written, panics}},
		{"less than all of it", noContent, func(rw http.ResponseWriter, begun bool, v any) {
			if !begun && v != any(http.ErrAbortHandler) {
				if proto(rw) == 1 {
					rw.Header().Set("Connection", "close")
				}
				rw.WriteHeader(500)
				io.WriteString(rw, "problem")
				http.NewResponseController(rw).Flush()
			}
			panic(v)
		}, []string{"http1/" + panics}},
		{"as if the connection stayed", noContent, func(rw http.ResponseWriter, begun bool, v any) {
			if !begun && v != any(http.ErrAbortHandler) {
				rw.Header().Set("Content-Length", "0")
				rw.WriteHeader(500)
				http.NewResponseController(rw).Flush()
			}
			panic(v)
		}, []string{"http1/" + panics}},
		{"none", noContent, func(_ http.ResponseWriter, _ bool, v any) { panic(v) }, []string{written, panics}},
		{"and no panic", noContent, func(rw http.ResponseWriter, begun bool, v any) {
			if begun || v == any(http.ErrAbortHandler) {
				panic(v)
			}
			answer(rw, 500)
		}, []string{written, panics}},
		{"what is not to be answered", noContent, func(rw http.ResponseWriter, begun bool, v any) {
			if !begun {
				answer(rw, 500)
			}
			panic(v)
		}, []string{written, panics, "responses arrive the same", "responses are the same byte for byte"}},
		{"what has begun", noContent, func(rw http.ResponseWriter, begun bool, v any) {
			if begun {
				io.WriteString(rw, "no")
				http.NewResponseController(rw).Flush()
			}
			well(rw, begun, v)
		}, []string{panics}},
		{"preflights by a page", func(rw http.ResponseWriter) { io.WriteString(rw, "yes") }, well, []string{options}},
		{"preflights by a refusal", func(rw http.ResponseWriter) { rw.WriteHeader(403) }, well, []string{options}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := judgeHandler(t, differing(c.preflight, c.panicked), PanicsAnswered, PreflightsAnswered)
			assert.ElementsMatch(t, c.failed, v.failed(handlerProtocols()), "%v", v)
		})
	}
	assert.ElementsMatch(t, []string{written, options, panics}, judgeHandler(t, differing(noContent, well)).failed(handlerProtocols()))
	all := around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		if r.Method == "OPTIONS" {
			noContent(rw)
			return
		}
		next.ServeHTTP(rw, r)
	})
	assert.Contains(t, judgeHandler(t, all, PreflightsAnswered).failed(handlerProtocols()), options, "other OPTIONS are the handler's")
}
