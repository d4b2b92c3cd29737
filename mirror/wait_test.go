package mirror_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/mirror"
)

// A transport that has had its answer may read on of the body, so that copies
// are launched while somebody waits for those there are.
func TestWaitWhileBodiesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := mirror.New(mirror.Policy{MaxBody: 100}, nil)
		require.NoError(t, err)
		var ended atomic.Int64
		send := func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(time.Second)
			ended.Add(1)
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}
		for n := range 3 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://reviews/", io.NopCloser(strings.NewReader("content")))
			require.NoError(t, err)
			out := m.Reflect(r, send)
			go func() {
				time.Sleep(time.Duration(n) * 700 * time.Millisecond)
				_, _ = io.ReadAll(out.Body)
			}()
		}
		m.Wait() // for nothing, or for what there is
		synctest.Wait()
		begin := time.Now()
		m.Wait()
		assert.EqualValues(t, 3, ended.Load())
		assert.Equal(t, 2400*time.Millisecond, time.Since(begin), "until the last has ended")
	})
}
