package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

func TestBodiesAreSentAgainWhole(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	overBoth(t, func(t *testing.T, protocol string) {
		for name, c := range map[string]struct {
			policy  retry.Policy
			body    string
			getBody bool
			length  int64 // declared
			first   tulletest.Step
			sent    int
		}{
			"GetBody":                     {body: long, getBody: true, length: 100_000, first: tulletest.Step{Status: 503}, sent: 2},
			"GetBody, refused early":      {body: long, getBody: true, length: 100_000, first: tulletest.Step{Status: 503, KeepBody: true}, sent: 2},
			"kept":                        {body: "hello", length: 5, first: tulletest.Step{Status: 503}, sent: 2},
			"kept, unknown length":        {body: "hello", length: -1, first: tulletest.Step{Status: 503}, sent: 2},
			"kept, refused early":         {body: "hello", length: 5, first: tulletest.Step{Status: 503, KeepBody: true}, sent: 2},
			"kept, reset":                 {body: "hello", length: 5, first: tulletest.Step{Fault: tulletest.ResetHeader}, sent: 2},
			"kept, hangs":                 {policy: retry.Policy{PerTry: second}, body: "hello", length: 5, first: tulletest.Step{Fault: tulletest.Hang}, sent: 2},
			"too long":                    {body: long, length: 100_000, first: tulletest.Step{Status: 503}, sent: 1},
			"too long, unknown length":    {body: long, length: -1, first: tulletest.Step{Status: 503}, sent: 1},
			"a larger buffer":             {policy: retry.Policy{BufferBody: 100_000}, body: long, length: 100_000, first: tulletest.Step{Status: 503}, sent: 2},
			"larger, unknown length":      {policy: retry.Policy{BufferBody: 100_000}, body: long, length: -1, first: tulletest.Step{Status: 503}, sent: 2},
			"no buffer":                   {policy: retry.Policy{BufferBody: -1}, body: "hello", length: 5, first: tulletest.Step{Status: 503}, sent: 1},
			"no buffer, not the body's":   {policy: retry.Policy{BufferBody: -1}, body: "hello", length: 5, first: tulletest.Step{}, sent: 1},
			"no policy to send twice for": {policy: retry.Policy{Attempts: 1}, body: "hello", length: 5, first: tulletest.Step{Status: 503}, sent: 1},
		} {
			first, second := &tulletest.Script{Default: c.first}, &tulletest.Script{}
			f := newFleet(t, protocol, first, second)
			body := &requestBody{Reader: strings.NewReader(c.body)}
			in := newRequest(t, "PUT", body)
			in.ContentLength = c.length
			if c.getBody {
				in.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.body)), nil }
			}
			before := *in
			resp, err := f.do(newLoop(t, retry.Options{Policy: &c.policy}), in)
			require.NoError(t, err, name)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.sent, first.Count()+second.Count(), name)
			if c.sent == 2 {
				require.Equal(t, 200, resp.StatusCode, name)
				got := second.Received()[0]
				require.Equal(t, c.body, string(got.Body), name)
				require.Equal(t, c.length, got.Length, name)
			}
			f.close()
			require.EqualValues(t, 1, body.closed.Load(), name)
			require.Equal(t, before.Body, in.Body, "the request is not touched")
			require.Equal(t, before.ContentLength, in.ContentLength)
		}
	})
}

// close ends all connections of the fleet.
func (f *fleet) close() {
	for i, tr := range f.endpoints {
		f.net.Reset(addr(i))
		tr.CloseIdleConnections()
	}
	time.Sleep(time.Minute)
	synctest.Wait()
}

// TestAnUploadInProgressMovesOn refuses an upload while its caller is still
// writing it; the rest goes to the next attempt.
func TestAnUploadInProgressMovesOn(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		first, second := &tulletest.Script{Default: tulletest.Step{Status: 503, KeepBody: true}}, &tulletest.Script{}
		f := newFleet(t, protocol, first, second)
		pr, pw := io.Pipe()
		in := newRequest(t, "PUT", pr)
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 100 {
				time.Sleep(10 * time.Millisecond)
				if _, err := pw.Write([]byte(strings.Repeat("x", 100))); err != nil {
					return
				}
			}
			_ = pw.Close()
		})
		resp, err := f.do(newLoop(t, retry.Options{Policy: &retry.Policy{}}), in)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		wg.Wait()
		require.Equal(t, 1, first.Count())
		require.Equal(t, strings.Repeat("x", 10_000), string(second.Received()[0].Body))
	})
}

func TestABodyThatCannotBeHadAgainIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, first := range []result{{status: 503}, {err: errReset}} {
			loop := newLoop(t, retry.Options{Policy: &retry.Policy{}})
			tr := &tryer{t: t, results: []result{first, {status: 200}}}
			in := newRequest(t, "PUT", strings.NewReader("hello"))
			in.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
			resp, err := loop.Do(t.Context(), in, tr)
			require.Equal(t, first.err, err)
			require.Equal(t, err == nil, resp != nil)
			require.Equal(t, 1, tr.calls())
			require.Equal(t, 1, tr.released, "what was prepared is given back")
			require.EqualValues(t, 1, loop.Counters().Stats().Unreplayable)
			require.Zero(t, loop.Budget().Stats().Granted)
			if resp != nil {
				require.EqualValues(t, 1, tr.open.Load())
			}
		}
	})
}

func TestAnUploadOfAnyLengthFollowsARefusedConnection(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		first, second := &tulletest.Script{}, &tulletest.Script{}
		f := newFleet(t, protocol, first, second)
		f.net.Refuse(addr(0))
		body := &requestBody{Reader: io.LimitReader(zeros{}, 1<<20)}
		in := newRequest(t, "POST", body)
		in.ContentLength = 1 << 20
		resp, err := f.do(newLoop(t, retry.Options{Policy: &retry.Policy{BufferBody: -1}}), in)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Zero(t, first.Count())
		synctest.Wait()
		require.EqualValues(t, 1<<20, second.Received()[0].BodySize)
		require.EqualValues(t, 1, body.closed.Load())
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestGetServesATransportThatRepeatsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := &requestBody{Reader: strings.NewReader("hello")}
		_, err := newLoop(t, retry.Options{Policy: &retry.Policy{}}).Do(t.Context(), newRequest(t, "POST", body),
			tryFunc(func(_ context.Context, b retry.Body) (*http.Response, error) {
				_, _ = io.ReadFull(b.Reader, make([]byte, 3))
				require.NoError(t, b.Reader.Close())
				again, err := b.Get()
				require.NoError(t, err)
				got, err := io.ReadAll(again)
				require.NoError(t, err)
				require.Equal(t, "hello", string(got))
				require.NoError(t, again.Close())
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			}))
		require.NoError(t, err)
		require.EqualValues(t, 1, body.closed.Load())
	})
}

func TestNoBodyStaysItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, body := range []io.ReadCloser{nil, http.NoBody} {
			in := newRequest(t, "PUT", nil)
			in.Body = body
			n := 0
			resp, err := newLoop(t, retry.Options{Policy: &retry.Policy{}}).Do(t.Context(), in,
				tryFunc(func(_ context.Context, b retry.Body) (*http.Response, error) {
					require.Equal(t, body, b.Reader)
					n++
					return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
				}))
			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode)
			require.Equal(t, 2, n)
		}
	})
}

// TestBothDirectionsAtOnce has a request body that goes on after the response
// has come, as in a stream of messages.
func TestBothDirectionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute); synctest.Wait() })
		f := newFleet(t, "HTTP/2", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(w, r.Body)
		}))
		pr, pw := io.Pipe()
		resp, err := f.do(newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: second}, Timeout: time.Hour}), newRequest(t, "PUT", pr))
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 100 {
				time.Sleep(second)
				_, _ = pw.Write(make([]byte, 10_000))
			}
			_ = pw.Close()
		})
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.EqualValues(t, 1_000_000, n)
		require.NoError(t, resp.Body.Close())
		wg.Wait()
	})
}
