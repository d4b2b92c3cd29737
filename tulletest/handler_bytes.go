package tulletest

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// handlerBytesRows compare a wrapped handler with a bare one.
func handlerBytesRows() []row[*handlerWorld] {
	return []row[*handlerWorld]{
		{name: "requests arrive the same", test: handledTheSame},
		{name: "responses arrive the same", test: answeredTheSame},
		{name: "responses are the same byte for byte", only: http1, test: sameBytes},
	}
}

// handlerCorpus is a set of handlers that answer in as many ways.
func handlerCorpus() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"sniffed": func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "<html><body>") },
		"typed": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusCreated)
			io.WriteString(rw, "{}")
		},
		"untyped": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header()["Content-Type"] = nil
			io.WriteString(rw, "bytes")
		},
		"undated": func(rw http.ResponseWriter, _ *http.Request) { rw.Header()["Date"] = nil },
		"parts": func(rw http.ResponseWriter, _ *http.Request) {
			for range 3 {
				io.WriteString(rw, "part ")
				http.NewResponseController(rw).Flush()
			}
		},
		"declared": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "5")
			io.WriteString(rw, "hello")
		},
		"too little": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "50")
			io.WriteString(rw, "hello")
		},
		"too much": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "2")
			io.WriteString(rw, "he")
			io.WriteString(rw, "llo")
		},
		"large":       func(rw http.ResponseWriter, _ *http.Request) { io.Copy(rw, endless(100_000)) },
		"no content":  func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) },
		"unmodified":  func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotModified) },
		"error":       func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "no", http.StatusTeapot) },
		"redirect":    func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/x?y", http.StatusFound) },
		"own status":  func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(599) },
		"twice":       func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(202); rw.WriteHeader(500) },
		"echo":        func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) },
		"ignorant":    func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "body unread") },
		"close":       func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Connection", "close") },
		"hang up":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"early hints": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(103); rw.WriteHeader(200) },
		"header case": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header()["x-lower"] = []string{"1", "2"}
			rw.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
			rw.Header()["X-Empty"] = []string{""}
		},
		"trailers": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Trailer", "X-Declared")
			io.WriteString(rw, "body")
			rw.Header().Set("X-Declared", "1")
			rw.Header().Set(http.TrailerPrefix+"X-Late", "2")
		},
		"late trailer": func(rw http.ResponseWriter, _ *http.Request) {
			io.WriteString(rw, "body")
			http.NewResponseController(rw).Flush()
			rw.Header().Set(http.TrailerPrefix+"X-Late", "2")
		},
		"encoded": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			rw.Write(zip(plainText))
		},
		"content": func(rw http.ResponseWriter, r *http.Request) {
			http.ServeContent(rw, r, "f.txt", time.Unix(1e9, 0), strings.NewReader(plainText))
		},
	}
}

// handlerInputs are requests as clients write them; PATH stands for the path.
// Each is the last on its connection.
func handlerInputs() map[string]string {
	return map[string]string{
		"GET":       "GET PATH HTTP/1.1\r\nHost: service.test\r\nConnection: close\r\n\r\n",
		"HEAD":      "HEAD PATH HTTP/1.1\r\nHost: service.test\r\nConnection: close\r\n\r\n",
		"HTTP/1.0":  "GET PATH HTTP/1.0\r\n\r\n",
		"range":     "GET PATH HTTP/1.1\r\nHost: service.test\r\nRange: bytes=1-3\r\nConnection: close\r\n\r\n",
		"length":    "POST PATH HTTP/1.1\r\nHost: service.test\r\nContent-Length: 7\r\nConnection: close\r\n\r\ncontent",
		"chunked":   "POST PATH HTTP/1.1\r\nHost: service.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\nConnection: close\r\n\r\n7\r\ncontent\r\n0\r\nX-End: 1\r\n\r\n",
		"expect":    "PUT PATH HTTP/1.1\r\nHost: service.test\r\nExpect: 100-continue\r\nContent-Length: 7\r\nConnection: close\r\n\r\ncontent",
		"pipelined": "POST PATH HTTP/1.1\r\nHost: service.test\r\nContent-Length: 7\r\n\r\ncontentGET PATH HTTP/1.1\r\nHost: service.test\r\nConnection: close\r\n\r\n",
		"odd names": "PURGE PATH?a=1;b&c=%zz HTTP/1.1\r\nhOST: other.test:81\r\nx-LOWER: 1\r\nX-Lower: 2\r\nX-Empty:\r\nConnection: close, x-lower\r\n\r\n",
		"asterisk":  "OPTIONS * HTTP/1.1\r\nHost: service.test\r\nConnection: close\r\n\r\n",
		"absolute":  "GET http://other.test:81PATH HTTP/1.1\r\nHost: service.test\r\nConnection: close\r\n\r\n",
		"malformed": "POST PATH HTTP/1.1\r\nHost: service.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
	}
}

func corpusMux() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if h := handlerCorpus()[strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, "/"), "-", " ")]; h != nil {
			h(rw, r)
			return
		}
		http.NotFound(rw, r)
	})
}

func corpusPath(name string) string { return "/" + strings.ReplaceAll(name, " ", "-") }

func sameBytes(t testing.TB, w *handlerWorld) {
	w.serveBoth(corpusMux())
	for _, input := range slices.Sorted(maps.Keys(handlerInputs())) {
		for _, name := range slices.Sorted(maps.Keys(handlerCorpus())) {
			raw := strings.ReplaceAll(handlerInputs()[input], "PATH", corpusPath(name))
			var answers [2]chan string
			// At the same instant, so that the dates are the same.
			for i, addr := range []string{plainAddr, serviceAddr} {
				answers[i] = make(chan string, 1)
				go func() { answers[i] <- exchange(t, w.network, addr, raw) }()
			}
			if plain, wrapped := <-answers[0], <-answers[1]; plain != wrapped {
				t.Errorf("%s of %s: with the wrap the client is sent\n%q\nwithout it\n%q", input, name, wrapped, plain)
			}
		}
	}
}

// exchange sends raw and returns all that comes back.
func exchange(t testing.TB, n *Network, addr, raw string) string {
	conn, err := n.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Errorf("dialling: %v", err)
		return ""
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Errorf("sending: %v", err)
	}
	// A server that closes with input unread resets; what it sent counts.
	b, _ := io.ReadAll(conn)
	return string(b)
}

func answeredTheSame(t testing.TB, w *handlerWorld) {
	w.serveBoth(corpusMux())
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, name := range slices.Sorted(maps.Keys(handlerCorpus())) {
			var got [2]string
			for i, addr := range []string{plainAddr, serviceAddr} {
				r := w.request(method, corpusPath(name), strings.NewReader("content"))
				r.URL.Host = addr
				r.Header.Set("Accept-Encoding", "identity")
				got[i] = describeCall(w.base, r)
				// After some answers the server closes the connection without
				// having said so, and a POST that is on it by then is lost.
				w.settle()
			}
			if got[0] != got[1] {
				t.Errorf("%s of %s: with the wrap the client gets\n%s\nwithout it\n%s", method, name, got[1], got[0])
			}
		}
	}
}

func handledTheSame(t testing.TB, w *handlerWorld) {
	seen := make(chan string, 1)
	w.serveBoth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- describeRequest(r) }))
	for _, name := range slices.Sorted(maps.Keys(requestCorpus())) {
		var got [2]string
		for i, addr := range []string{plainAddr, serviceAddr} {
			r := requestCorpus()[name](&w.clientWorld)
			if r.Host == "" {
				r.Host = "service.test"
			}
			r.URL.Host = addr
			resp, err := w.base.RoundTrip(r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			resp.Body.Close()
			select {
			case got[i] = <-seen:
			default: // net/http answers some requests itself
			}
		}
		if got[0] != got[1] {
			t.Errorf("%s: the handler sees, wrapped,\n%s\nand bare\n%s", name, got[1], got[0])
		}
	}
}
