package retry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// chunks reads from r in pieces of random size, sometimes together with the
// error that ends it, and counts how often it is closed.
type chunks struct {
	io.Reader
	rng    *rand.Rand
	closed int
}

func (c *chunks) Read(p []byte) (int, error) {
	return c.Reader.Read(p[:min(len(p), 1+c.rng.IntN(2000))])
}

func (c *chunks) Close() error {
	c.closed++
	return nil
}

func newSource(body []byte, rng *rand.Rand) *chunks {
	var r io.Reader = bytes.NewReader(body)
	if rng.IntN(2) == 0 {
		r = iotest.DataErrReader(r)
	}
	return &chunks{Reader: r, rng: rng}
}

// replays sends one random body through attempts that each give up at a
// random point, until the last reads it all, and returns the first way in
// which that one did not get what the caller sent. limit 0 is none at all.
func replays(seed uint64, limit int64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	body := make([]byte, rng.IntN(20_000))
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	src := newSource(body, rng)
	in := &http.Request{Body: src, ContentLength: -1}
	if rng.IntN(2) == 0 {
		in.ContentLength = int64(len(body))
	}
	r := newReplay(in, limit)
	attempts := 1 + rng.IntN(4)
	for n := range attempts {
		rd, err := r.next()
		if err != nil {
			return fmt.Errorf("attempt %d: %w", n, err)
		}
		amount := int64(rng.IntN(len(body) + 1))
		if n == attempts-1 {
			amount = int64(len(body)) + 1
		}
		got, err := io.ReadAll(io.LimitReader(&chunks{Reader: rd, rng: rng}, amount))
		if err != nil {
			return fmt.Errorf("attempt %d: %w", n, err)
		}
		if !bytes.Equal(got, body[:min(amount, int64(len(body)))]) {
			return fmt.Errorf("attempt %d reads other bytes than were sent", n)
		}
		// A transport may close a body late, or never come to it.
		if n == attempts-1 || rng.IntN(2) == 0 {
			defer rd.Close()
		} else {
			_ = rd.Close()
		}
		if int64(cap(r.kept)) > limit {
			return fmt.Errorf("room for %d bytes kept", cap(r.kept))
		}
	}
	r.settle(false)
	if src.closed != 0 {
		return errors.New("closed under the last reader")
	}
	_ = r.current.Close()
	_ = r.current.Close()
	if src.closed != 1 {
		return fmt.Errorf("closed %d times", src.closed)
	}
	return nil
}

func TestEveryAttemptReadsTheSameBody(t *testing.T) {
	failures := 0
	for seed := range uint64(600) {
		require.NoError(t, replays(seed, 20_000), "seed %d", seed)
		if replays(seed, 0) != nil {
			failures++
		}
	}
	require.Greater(t, failures, 300, "negative control: without a buffer bodies are lost")
}

func TestABodyOverTheLimitIsSentOnceAndNotKept(t *testing.T) {
	for name, c := range map[string]struct {
		size, declared, limit int64
		read                  int64 // by the first attempt
		again                 bool
		kept                  int // at most, ever
	}{
		"as long as the limit":        {size: 1000, declared: -1, limit: 1000, read: 1 << 20, again: true, kept: 1000},
		"one more":                    {size: 1001, declared: -1, limit: 1000, read: 1 << 20, kept: 1000},
		"one more, not yet read":      {size: 1001, declared: -1, limit: 1000, read: 1000, again: true, kept: 1000},
		"declared as long":            {size: 1000, declared: 1000, limit: 1000, read: 1 << 20, again: true, kept: 1000},
		"declared as longer":          {size: 1001, declared: 1001, limit: 1000, read: 1, kept: 0},
		"declared longer, nothing of": {size: 1001, declared: 1001, limit: 1000, read: 0, again: true, kept: 0},
		"no buffer":                   {size: 10, declared: -1, limit: -1, read: 1, kept: 0},
		"no buffer, nothing read":     {size: 10, declared: -1, limit: -1, read: 0, again: true, kept: 0},
		"length declared too short":   {size: 5000, declared: 10, limit: 1000, read: 900, again: true, kept: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			body := bytes.Repeat([]byte("x"), int(c.size))
			src := &chunks{Reader: bytes.NewReader(body), rng: rand.New(rand.NewPCG(1, 1))}
			r := newReplay(&http.Request{Body: src, ContentLength: c.declared}, c.limit)
			first, err := r.next()
			require.NoError(t, err)
			most := 0
			for left := c.read; left > 0; {
				n, err := first.Read(make([]byte, min(left, 300)))
				most = max(most, cap(r.kept))
				left -= int64(n)
				if err != nil {
					require.Equal(t, io.EOF, err)
					break
				}
			}
			require.LessOrEqual(t, most, c.kept)
			require.Equal(t, c.again, r.replayable())
			second, err := r.next()
			if !c.again {
				require.ErrorIs(t, err, errBodyGone)
				require.Empty(t, r.kept, "what is of no use is let go")
				rest, err := io.ReadAll(first)
				require.NoError(t, err, "the one attempt goes on")
				require.Len(t, rest, int(max(0, c.size-c.read)))
				return
			}
			require.NoError(t, err)
			got, err := io.ReadAll(second)
			require.NoError(t, err)
			require.Equal(t, body, got)
		})
	}
}

func TestAnAttemptThatIsOverGetsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		r := newReplay(&http.Request{Body: pr, ContentLength: -1}, 1000)
		first, err := r.next()
		require.NoError(t, err)
		var wg sync.WaitGroup
		var got [2][]byte
		var errs [2]error
		wg.Go(func() { got[0], errs[0] = io.ReadAll(first) })
		_, _ = pw.Write([]byte("one "))
		synctest.Wait()
		// The first attempt now waits inside the caller's Read.
		second, err := r.next()
		require.NoError(t, err)
		_, err = first.Read(make([]byte, 1))
		require.ErrorIs(t, err, errSuperseded, "nor what is kept")
		wg.Go(func() { got[1], errs[1] = io.ReadAll(second) })
		synctest.Wait()
		_, _ = pw.Write([]byte("two "))
		_, _ = pw.Write([]byte("three"))
		_ = pw.Close()
		wg.Wait()
		require.Equal(t, "one ", string(got[0]))
		require.ErrorIs(t, errs[0], errSuperseded)
		require.Equal(t, "one two three", string(got[1]))
		require.NoError(t, errs[1])
	})
}

func TestAReadThatIsNotKeptBlocksAnotherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		r := newReplay(&http.Request{Body: pr, ContentLength: -1}, 4)
		first, _ := r.next()
		var wg sync.WaitGroup
		var got []byte
		wg.Go(func() { got, _ = io.ReadAll(first) })
		_, _ = pw.Write([]byte("1234"))
		synctest.Wait()
		require.False(t, r.replayable(), "what the waiting read gets would be lost")
		_, err := r.next()
		require.Error(t, err)
		_ = pw.Close()
		wg.Wait()
		require.Equal(t, "1234", string(got))
		require.True(t, r.replayable(), "it got nothing")
	})
}

func TestClosingTheSource(t *testing.T) {
	for name, c := range map[string]struct {
		close  bool // the reader, before settle
		failed bool
		early  int // closed after settle
	}{
		"success, transport still reads": {early: 0},
		"success, reader closed":         {close: true, early: 1},
		"failure, transport still reads": {failed: true, early: 1},
		"failure, reader closed":         {close: true, failed: true, early: 1},
	} {
		t.Run(name, func(t *testing.T) {
			src := &chunks{Reader: bytes.NewReader([]byte("body"))}
			r := newReplay(&http.Request{Body: src, ContentLength: -1}, 1000)
			old, _ := r.next()
			rd, _ := r.next()
			if c.close {
				require.NoError(t, rd.Close())
			}
			require.Zero(t, src.closed, "another attempt may follow")
			r.settle(c.failed)
			require.Equal(t, c.early, src.closed)
			require.NoError(t, old.Close())
			require.Equal(t, c.early, src.closed, "not by a reader that is over")
			require.NoError(t, rd.Close())
			require.NoError(t, rd.Close())
			require.Equal(t, 1, src.closed)
			_, err := rd.Read(make([]byte, 1))
			require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
			require.False(t, r.replayable())
		})
	}
}

func TestABodyThatFailsIsNotSentAgain(t *testing.T) {
	r := newReplay(&http.Request{Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), ContentLength: -1}, 1000)
	rd, _ := r.next()
	_, err := io.ReadAll(rd)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.False(t, r.replayable())
}

func TestASourceThatPanicsHoldsNoLock(t *testing.T) {
	r := newReplay(&http.Request{Body: io.NopCloser(readerFunc(func([]byte) (int, error) { panic("boom") })), ContentLength: -1}, 1000)
	rd, _ := r.next()
	require.PanicsWithValue(t, "boom", func() { _, _ = rd.Read(make([]byte, 1)) })
	require.False(t, r.replayable())
	require.NoError(t, rd.Close())
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestManyReaders has attempts follow each other while those before them
// still read, for the race detector.
func TestManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := bytes.Repeat([]byte("0123456789"), 1000)
		src := io.NopCloser(readerFunc(func(r io.Reader) func(p []byte) (int, error) {
			return func(p []byte) (int, error) {
				time.Sleep(time.Millisecond)
				return r.Read(p[:min(len(p), 100)])
			}
		}(bytes.NewReader(body))))
		r := newReplay(&http.Request{Body: src, ContentLength: -1}, 1<<20)
		var wg sync.WaitGroup
		for range 20 {
			rd, err := r.next()
			require.NoError(t, err)
			wg.Go(func() {
				got, err := io.ReadAll(rd)
				require.ErrorIs(t, err, errSuperseded)
				require.Equal(t, body[:len(got)], got)
			})
			time.Sleep(3 * time.Millisecond)
		}
		rd, err := r.next()
		require.NoError(t, err)
		got, err := io.ReadAll(rd)
		require.NoError(t, err)
		require.Equal(t, body, got)
		wg.Wait()
	})
}
