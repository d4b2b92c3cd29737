package tulletest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const scripted = "ratings:9080"

// onBoth runs f in a bubble over each protocol, with a client of script.
func onBoth(t *testing.T, f func(t *testing.T, n *Network, script *Script, client *http.Client)) {
	for name, set := range map[string]func(*http.Protocols, bool){
		"http1": (*http.Protocols).SetHTTP1,
		"http2": (*http.Protocols).SetUnencryptedHTTP2,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork()
				script := &Script{}
				n.Serve(t, scripted, script)
				protocols := new(http.Protocols)
				set(protocols, true)
				client := &http.Client{Transport: &http.Transport{DialContext: n.DialContext, Protocols: protocols}}
				f(t, n, script, client)
			})
		})
	}
}

func get(t *testing.T, client *http.Client) (*http.Response, string, error) {
	t.Helper()
	resp, err := client.Get("http://" + scripted)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return resp, string(body), err
}

func TestScriptAnswersInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, n *Network, script *Script, client *http.Client) {
		script.Steps = []Step{
			{},
			{Status: 503, Header: http.Header{"Retry-After": {"1"}}, Body: "busy"},
			{Body: "counted", Trailer: http.Header{"X-Sum": {"7"}}},
			{Trailer: http.Header{"X-Sum": {"0"}}},
		}
		script.Default = Step{Status: 404}
		resp, body, err := get(t, client)
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Empty(t, body)
		resp, body, err = get(t, client)
		require.NoError(t, err)
		assert.Equal(t, 503, resp.StatusCode)
		assert.Equal(t, "1", resp.Header.Get("Retry-After"))
		assert.Equal(t, "busy", body)
		for _, sum := range []string{"7", "0"} {
			resp, _, err = get(t, client)
			require.NoError(t, err)
			assert.Equal(t, sum, resp.Trailer.Get("X-Sum"))
		}
		for range 2 {
			resp, _, err = get(t, client)
			require.NoError(t, err)
			assert.Equal(t, 404, resp.StatusCode)
		}
		assert.Equal(t, 6, script.Count())
	})
}

func TestScriptDelaysInVirtualTime(t *testing.T) {
	onBoth(t, func(t *testing.T, n *Network, script *Script, client *http.Client) {
		script.Default = Step{Delay: time.Hour, BodyDelay: time.Minute, Body: "ab"}
		start := time.Now()
		resp, err := client.Get("http://" + scripted)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, time.Hour, time.Since(start))
		b := make([]byte, 1)
		_, err = io.ReadFull(resp.Body, b)
		require.NoError(t, err)
		assert.Equal(t, "a", string(b))
		assert.Equal(t, time.Hour, time.Since(start), "half of the body comes with the headers")
		rest, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "b", string(rest))
		assert.Equal(t, time.Hour+time.Minute, time.Since(start))
	})
}

func TestScriptFaults(t *testing.T) {
	onBoth(t, func(t *testing.T, n *Network, script *Script, client *http.Client) {
		http2 := client.Transport.(*http.Transport).Protocols.UnencryptedHTTP2()
		script.Steps = []Step{
			{Fault: ResetHeader},
			{Fault: ResetBody, Body: "half|rest"},
			{Fault: Truncate, Body: "half|rest"},
			{Fault: ResetBody, Body: "half|rest", BodyDelay: time.Minute},
			{Fault: Hang},
		}
		_, _, err := get(t, client)
		require.Error(t, err)
		if !http2 {
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		}
		resp, body, err := get(t, client)
		require.NotNil(t, resp)
		assert.Equal(t, "half", body)
		require.Error(t, err)
		if !http2 {
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		}
		resp, body, err = get(t, client)
		require.NotNil(t, resp)
		assert.EqualValues(t, 9, resp.ContentLength)
		assert.Equal(t, "half", body)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		start := time.Now()
		_, body, err = get(t, client)
		assert.Equal(t, "half", body)
		assert.Error(t, err)
		assert.Equal(t, time.Minute, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+scripted, nil)
		require.NoError(t, err)
		_, err = client.Do(r)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A delay ends with its call: else the bubble would find the handler's
// goroutine waiting for a year.
func TestScriptNoticesThatTheCallerLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, n *Network, script *Script, client *http.Client) {
		script.Steps = []Step{{Delay: 365 * 24 * time.Hour}, {Body: "ab", BodyDelay: 365 * 24 * time.Hour}}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r, err := http.NewRequestWithContext(ctx, "POST", "http://"+scripted, strings.NewReader("x"))
			require.NoError(t, err)
			if resp, err := client.Do(r); err == nil {
				_, err = io.ReadAll(resp.Body)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				resp.Body.Close()
			}
			cancel()
		}
		synctest.Wait()
		client.CloseIdleConnections()
		synctest.Wait()
		assert.Zero(t, n.Open(scripted), "a handler still holds a connection")
	})
}

func TestScriptRecords(t *testing.T) {
	onBoth(t, func(t *testing.T, n *Network, script *Script, client *http.Client) {
		script.Steps = []Step{{KeepBody: true, Status: 413}}
		_, err := client.Post("http://"+scripted+"/refused", "", strings.NewReader("unread"))
		require.NoError(t, err)
		start := time.Now()
		large := strings.Repeat("x", recordLimit+10)
		r, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+scripted+"/a?b=c", strings.NewReader(large))
		require.NoError(t, err)
		r.Header.Set("X-Mine", "yes")
		r.Trailer, r.ContentLength = http.Header{"X-End": {"1"}}, -1
		resp, err := client.Do(r)
		require.NoError(t, err)
		resp.Body.Close()

		all := script.Received()
		require.Len(t, all, 2)
		assert.Equal(t, "/refused", all[0].URL.Path)
		assert.Empty(t, all[0].Body)
		got := all[1]
		assert.Equal(t, "PUT", got.Method)
		assert.Equal(t, "b=c", got.URL.RawQuery)
		assert.Equal(t, scripted, got.Host)
		assert.Equal(t, resp.Proto, got.Proto)
		assert.Equal(t, "yes", got.Header.Get("X-Mine"))
		assert.Equal(t, "1", got.Trailer.Get("X-End"))
		assert.Len(t, got.Body, recordLimit)
		assert.EqualValues(t, recordLimit+10, got.BodySize)
		assert.Equal(t, start, got.At)
	})
}

// Every step is played once, however many callers there are at once.
func TestScriptIsSharedByCallers(t *testing.T) {
	onBoth(t, func(t *testing.T, n *Network, script *Script, client *http.Client) {
		for range 50 {
			script.Steps = append(script.Steps, Step{Status: 500})
		}
		var callers sync.WaitGroup
		var mu sync.Mutex
		seen := make(map[int]int)
		for range 100 {
			callers.Go(func() {
				resp, _, err := get(t, client)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seen[resp.StatusCode]++
			})
		}
		callers.Wait()
		assert.Equal(t, map[int]int{500: 50, 200: 50}, seen)
	})
}

func TestFaultsOfTheNetwork(t *testing.T) {
	onBoth(t, func(t *testing.T, n *Network, script *Script, client *http.Client) {
		n.Refuse(scripted)
		_, _, err := get(t, client)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		n.Heal(scripted)

		n.Latency(scripted, time.Second)
		start := time.Now()
		_, _, err = get(t, client)
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(start), "a round trip for the dial, one for the call")
		n.Heal(scripted)

		script.Steps = []Step{{}, {Fault: Hang}}
		client.CloseIdleConnections() // net/http tries again if a kept connection is reset
		time.AfterFunc(time.Minute, func() { n.Reset(scripted) })
		_, _, err = get(t, client)
		assert.ErrorIs(t, err, syscall.ECONNRESET)

		client.CloseIdleConnections()
		n.Blackhole(scripted)
		client.Timeout = time.Hour
		start = time.Now()
		_, _, err = get(t, client)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Hour, time.Since(start))
	})
}

// The kit itself tells of goroutines that are left over, of exchanges that
// never end and of panics, and goes on.
func TestBubbleReports(t *testing.T) {
	for want, body := range map[string]func(t testing.TB){
		"goroutines are left":     func(testing.TB) { go func() { select {} }() },
		"the exchange never ends": func(testing.TB) { select {} },
		"panic: mine":             func(testing.TB) { panic(errors.New("mine")) },
		"failed":                  func(t testing.TB) { t.Fatalf("failed") },
	} {
		f := &failures{}
		bubble(t, func(t *testing.T) testing.TB { return recordingTB{t, f} }, body)
		if assert.NotEmpty(t, f.messages, want) {
			assert.Contains(t, f.messages[0], want)
		}
	}
	f := &failures{}
	bubble(t, func(t *testing.T) testing.TB { return recordingTB{t, f} }, func(testing.TB) {})
	assert.Empty(t, f.messages)
}
