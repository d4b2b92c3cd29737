//go:build !race

package retry_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// endless is a body that can be closed and read again and again.
type endless struct{}

func (endless) Read([]byte) (int, error) { return 0, io.EOF }
func (endless) Close() error             { return nil }

func TestDoAllocatesNothingWhereNothingHappens(t *testing.T) {
	get, err := http.NewRequest(http.MethodGet, "http://a/", nil)
	require.NoError(t, err)
	post, err := http.NewRequest(http.MethodPost, "http://a/", bytes.NewReader([]byte("body")))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for name, o := range map[string]retry.Options{
		"no policy":             {},
		"retries armed":         {Policy: &retry.Policy{}},
		"observe":               {Policy: &retry.Policy{Mode: outcome.Observe, PerTry: time.Minute}},
		"limits after caller's": {Policy: &retry.Policy{PerTry: 2 * time.Hour}, Timeout: 2 * time.Hour},
	} {
		loop, err := retry.New(o)
		require.NoError(t, err)
		for _, in := range []*http.Request{get, post} {
			r := &instant{resp: &http.Response{StatusCode: 200, Body: http.NoBody}}
			n := testing.AllocsPerRun(1000, func() {
				_, _ = loop.Do(ctx, in, r)
			})
			require.Zero(t, n, "%s, %s", name, in.Method)
		}
	}
}

func TestATimeoutOfItsOwnKeepsItsBudget(t *testing.T) {
	get, err := http.NewRequest(http.MethodGet, "http://a/", nil)
	require.NoError(t, err)
	for name, parent := range map[string]func() (context.Context, context.CancelFunc){
		"background":  func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
		"cancellable": func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
		"later deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Hour)
		},
	} {
		ctx, cancel := parent()
		defer cancel()
		for limits, o := range map[string]retry.Options{
			"timeout":             {Policy: &retry.Policy{}, Timeout: time.Minute},
			"per try":             {Policy: &retry.Policy{PerTry: time.Minute}},
			"timeout and per try": {Policy: &retry.Policy{PerTry: time.Second}, Timeout: time.Minute},
		} {
			loop, err := retry.New(o)
			require.NoError(t, err)
			resp := &http.Response{StatusCode: 200}
			r := &instant{resp: resp}
			allocs, size := measure(func() {
				resp.Body = endless{}
				got, _ := loop.Do(ctx, get, r)
				_ = got.Body.Close()
			})
			t.Logf("%s, %s: %.1f allocs, %.0f B", name, limits, allocs, size)
			require.LessOrEqual(t, allocs, 5.1, "%s, %s", name, limits)
			require.LessOrEqual(t, size, 400.0, "%s, %s", name, limits)
		}
	}
}

// measure returns the allocations of one run of f and their bytes.
func measure(f func()) (allocs, size float64) {
	const runs = 2000
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / runs, float64(after.TotalAlloc-before.TotalAlloc) / runs
}
