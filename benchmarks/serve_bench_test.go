package benchmarks

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ample is a rate that nobody exceeds.
const ample = 1_000_000_000

func newDoor(tb testing.TB, rate, places int) door {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(tb, err)
	return door{key, rate, places}
}

// BenchmarkServe is what each row adds to a handler that answers at once. The
// requests are made, and their contexts cancelled, as a server does it; the
// connection is not there.
func BenchmarkServe(b *testing.B) {
	d := newDoor(b, ample, placesInFlight)
	token := d.token(b, tokenSubject, time.Now().Add(time.Hour))
	b.Run("case=get", func(b *testing.B) {
		for _, s := range gates() {
			b.Run("stack="+s.name, func(b *testing.B) {
				v := newVisitor(s.wrap(b, d, http.HandlerFunc(answerOK)), token)
				require.Equal(b, http.StatusOK, v.visit())
				b.ReportAllocs()
				for b.Loop() {
					v.visit()
				}
			})
		}
	})
	b.Run("case=parallel", func(b *testing.B) {
		for _, s := range gates() {
			b.Run("stack="+s.name, func(b *testing.B) {
				h := s.wrap(b, d, http.HandlerFunc(answerOK))
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for v := newVisitor(h, token); pb.Next(); {
						v.visit()
					}
				})
			})
		}
	})
}

func answerOK(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, "ok")
}

// visitor makes requests one after the other, as the connection of a server
// does.
type visitor struct {
	handler http.Handler
	request *http.Request
	conn    context.Context
	status  int
	header  http.Header
}

func newVisitor(h http.Handler, token string) *visitor {
	r := httptest.NewRequest(http.MethodGet, "http://reviews/reviews/1", nil)
	r.RemoteAddr = "192.0.2.1:49152"
	r.Header = http.Header{
		"Accept": {"application/json"}, "User-Agent": {"benchmarks/1"}, "Accept-Encoding": {"gzip"},
		"Authorization": {"Bearer " + token}, "Traceparent": {"00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"},
	}
	conn := context.WithValue(context.Background(), connKey{}, "a value")
	return &visitor{handler: h, request: r, conn: conn}
}

// visit returns the status of the answer.
func (v *visitor) visit() int {
	ctx, cancel := context.WithCancel(v.conn)
	defer cancel()
	v.status, v.header = http.StatusOK, http.Header{}
	v.handler.ServeHTTP(v, v.request.WithContext(ctx))
	return v.status
}

func (v *visitor) Header() http.Header         { return v.header }
func (v *visitor) Write(p []byte) (int, error) { return len(p), nil }
func (v *visitor) WriteHeader(status int)      { v.status = status }
