package tulletest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// repeatRows are the rules about what may be sent again and what may not.
func repeatRows() []row[*clientWorld] {
	return []row[*clientWorld]{
		{name: "POST answered with an error is sent once", test: postAnswered},
		{name: "lost POST is sent once", test: postLost},
		{name: "POST with a key outlives its connection", only: http1, test: keyedPost},
		{name: "refused stream is sent again", only: http2, test: refusedStream},
	}
}

// posts makes a POST with a body that could be sent again, and one without.
func (w *clientWorld) posts() []*http.Request {
	return []*http.Request{
		w.request("POST", "/", strings.NewReader("content")),
		w.request("POST", "/", nil),
	}
}

func postAnswered(t testing.TB, w *clientWorld) {
	var arrived atomic.Int32
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		var status int
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		rw.Header().Set("Retry-After", "0")
		rw.WriteHeader(status)
		io.WriteString(rw, "no")
	})
	for _, status := range []int{429, 500, 502, 503, 504} {
		for _, r := range w.posts() {
			r.URL.Path = fmt.Sprintf("/%d", status)
			arrived.Store(0)
			resp := w.do(r)
			if got := readAll(t, resp.Body); resp.StatusCode != status || got != "no" {
				t.Errorf("got %s with body %q, want %d with its own", resp.Status, got, status)
			}
			resp.Body.Close()
			if n := arrived.Load(); n != 1 {
				t.Errorf("a POST answered with %d, of length %d, arrived %d times", status, r.ContentLength, n)
			}
		}
	}
}

func postLost(t testing.TB, w *clientWorld) {
	// The first on a new connection, those after the second on a used one.
	script := &Script{
		Steps:   []Step{{Fault: ResetHeader}, {}, {Fault: ResetHeader}, {}},
		Default: Step{Fault: ResetHeader},
	}
	w.serve(script.ServeHTTP)
	for i, r := range []*http.Request{
		w.posts()[0], w.request("GET", "/", nil), w.posts()[0], w.request("GET", "/", nil), w.posts()[1],
	} {
		resp, err := w.roundTrip(r)
		if n := script.Count(); n != i+1 {
			t.Fatalf("%d calls, of which the POSTs were lost after they were sent, arrived as %d", i+1, n)
		}
		if err == nil {
			resp.Body.Close()
		}
		if lost := r.Method == "POST"; lost != (err != nil) {
			t.Errorf("call %d, a %s, gave %v", i, r.Method, err)
		}
	}
}

func keyedPost(t testing.TB, w *clientWorld) {
	// net/http repeats a request that says it is idempotent if a used
	// connection ends instead of answering; without GetBody it cannot.
	script := &Script{Steps: []Step{{}, {Fault: ResetHeader}}}
	w.serve(script.ServeHTTP)
	w.do(w.request("GET", "/", nil)).Body.Close()
	r := w.request("POST", "/", strings.NewReader("content"))
	r.Header.Set("Idempotency-Key", "1")
	if resp, err := w.roundTrip(r); err != nil {
		t.Errorf("a POST with a key and GetBody, lost on a used connection, was given up: %v", err)
	} else if resp.StatusCode != http.StatusOK {
		t.Errorf("got %s", resp.Status)
	}
	for i, got := range script.Received()[1:] {
		if string(got.Body) != "content" {
			t.Errorf("attempt %d arrived with body %q", i, got.Body)
		}
	}
}

func refusedStream(t testing.TB, w *clientWorld) {
	s := &refuser{bodies: make(chan string, 16)}
	w.listen(func(n *Network) {
		for _, addr := range []string{serviceAddr, serviceNumeric} {
			l, err := n.Listen(addr)
			if err != nil {
				t.Fatalf("listening: %v", err)
			}
			t.Cleanup(func() {
				l.Close()
				n.Reset(addr)
			})
			go s.serve(l)
		}
	})
	// "The RST_STREAM ... REFUSED_STREAM ... can be retried safely" whatever
	// the method (RFC 9113, section 8.7); without GetBody it cannot.
	if resp, err := w.roundTrip(w.request("POST", "/", strings.NewReader("content"))); err != nil {
		t.Errorf("a POST with GetBody, refused unprocessed, was given up: %v", err)
	} else if resp.StatusCode != http.StatusOK {
		t.Errorf("got %s", resp.Status)
	}
	for range len(s.bodies) {
		if got := <-s.bodies; got != "content" {
			t.Errorf("the body arrived as %q", got)
		}
	}
}

// refuser is an HTTP/2 server that refuses the first stream when it has been
// received, and answers all others with 200. net/http's server cannot.
type refuser struct {
	bodies chan string
}

func (s *refuser) serve(l net.Listener) {
	first := make(chan struct{}, 1)
	first <- struct{}{}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.serveConn(conn, first)
	}
}

// The frames, flags and codes of RFC 9113 that a refuser knows.
const (
	frameData      = 0x0
	frameHeaders   = 0x1
	frameReset     = 0x3
	frameSettings  = 0x4
	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	refusedCode    = "\x00\x00\x00\x07"
	status200      = "\x88" // entry 8 of HPACK's static table
	preface        = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

func (s *refuser) serveConn(conn net.Conn, first <-chan struct{}) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(preface))); err != nil {
		return
	}
	writeFrame(conn, frameSettings, 0, 0, "")
	bodies := make(map[uint32]string)
	header := make([]byte, 9)
	for {
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		kind, flags, stream := header[3], header[4], binary.BigEndian.Uint32(header[5:])
		payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			return
		}
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			writeFrame(conn, frameSettings, flagAck, 0, "")
		case kind == frameData:
			bodies[stream] += string(payload)
		}
		if (kind == frameData || kind == frameHeaders) && flags&flagEndStream != 0 {
			s.bodies <- bodies[stream]
			select {
			case <-first:
				writeFrame(conn, frameReset, 0, stream, refusedCode)
			default:
				writeFrame(conn, frameHeaders, flagEndStream|flagEndHeaders, stream, status200)
			}
		}
	}
}

func writeFrame(w io.Writer, kind, flags byte, stream uint32, payload string) {
	frame := []byte{0, 0, byte(len(payload)), kind, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	w.Write(append(frame, payload...))
}
