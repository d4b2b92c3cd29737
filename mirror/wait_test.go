package mirror_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/mirror"
)

// A transport that has had its answer may read on of the body, so that the copy
// is launched while somebody waits for copies. That is no race, and what is in
// flight is waited for.
func TestWaitWhileABodyEnds(t *testing.T) {
	for range 200 {
		m, err := mirror.New(mirror.Policy{MaxBody: 100}, nil)
		require.NoError(t, err)
		begun, end, ended := make(chan struct{}), make(chan struct{}), false
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://reviews/", io.NopCloser(strings.NewReader("content")))
		require.NoError(t, err)
		out := m.Reflect(r, func(r *http.Request) (*http.Response, error) {
			close(begun)
			<-end
			ended = true
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		var reader sync.WaitGroup
		reader.Go(func() { _, _ = io.ReadAll(out.Body) })
		for m.Stats().Sent == 0 {
			runtime.Gosched() // the copy is about to be launched, or has been
		}
		var waiter sync.WaitGroup
		waiter.Go(m.Wait)
		<-begun
		close(end)
		waiter.Wait()
		m.Wait()
		assert.True(t, ended)
		reader.Wait()
	}
}
