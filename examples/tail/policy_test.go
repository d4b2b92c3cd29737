package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlainClient: with HTTP/2 there is one connection whatever is under way
// at once, with HTTP/1.1 there are as many as there were calls at once.
func TestPlainClient(t *testing.T) {
	const atOnce = 5
	for _, http2 := range []bool{true, false} {
		var dialled atomic.Int64
		var arrived sync.WaitGroup
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			arrived.Done()
			arrived.Wait()
		}))
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetHTTP1(true)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				dialled.Add(1)
			}
		}
		srv.Start()
		client := plainClient([]string{srv.Listener.Addr().String()}, seeded(1, 0), http2)
		c := &caller{client: client}
		get := func() {
			status, err := c.get(t.Context(), "http://jobs/")
			assert.NoError(t, err)
			assert.Equal(t, http.StatusOK, status)
		}
		arrived.Add(1)
		get() // who knows no connection yet may make several
		arrived.Add(atOnce)
		var all sync.WaitGroup
		for range atOnce {
			all.Go(get)
		}
		all.Wait()
		require.NoError(t, c.close())
		srv.Close()
		if http2 {
			require.EqualValues(t, 1, dialled.Load())
		} else {
			require.GreaterOrEqual(t, dialled.Load(), int64(atOnce))
		}
	}
}
