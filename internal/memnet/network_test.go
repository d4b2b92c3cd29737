package memnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const addr = "reviews:80"

// inBubble runs f with a network and both ends of a connection over it.
func inBubble(t *testing.T, f func(t *testing.T, n *Network, client, server *Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, err := n.Listen(addr)
		require.NoError(t, err)
		defer l.Close()
		c, err := n.DialContext(t.Context(), "tcp", addr)
		require.NoError(t, err)
		s, err := l.Accept()
		require.NoError(t, err)
		defer c.Close()
		defer s.Close()
		f(t, n, c.(*Conn), s.(*Conn))
	})
}

func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	return string(b)
}

// isOp checks that err is what net makes of target in op.
func isOp(t *testing.T, err error, op string, target error) {
	t.Helper()
	opErr, ok := errors.AsType[*net.OpError](err)
	require.True(t, ok, "%T %v", err, err)
	assert.Equal(t, op, opErr.Op)
	assert.ErrorIs(t, err, target)
}

func TestDataInBothDirections(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		client.Write([]byte("to the server"))
		server.Write([]byte("to the client"))
		assert.Equal(t, "to the server", read(t, server, 13))
		assert.Equal(t, "to the client", read(t, client, 13))
		assert.Equal(t, addr, client.RemoteAddr().String())
		assert.Equal(t, client.LocalAddr(), server.RemoteAddr())
		assert.True(t, client.LocalAddr().(*net.TCPAddr).IP.IsLoopback())
	})
}

func TestWriterWaitsForRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		written := 0
		go func() {
			written, _ = client.Write(make([]byte, bufferSize+1))
		}()
		synctest.Wait()
		assert.Zero(t, written, "more was taken than the buffer holds")
		read(t, server, 1)
		synctest.Wait()
		assert.Equal(t, bufferSize+1, written)
	})
}

func TestDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		start := time.Now()
		client.SetReadDeadline(start.Add(time.Second))
		_, err := client.Read(make([]byte, 1))
		isOp(t, err, "read", os.ErrDeadlineExceeded)
		assert.True(t, err.(net.Error).Timeout())
		assert.Equal(t, time.Second, time.Since(start))

		client.SetWriteDeadline(time.Now().Add(time.Second))
		m, err := client.Write(make([]byte, 2*bufferSize))
		isOp(t, err, "write", os.ErrDeadlineExceeded)
		assert.Equal(t, bufferSize, m)
		assert.Equal(t, 2*time.Second, time.Since(start))

		// A deadline that is taken back frees the connection; one that is set
		// while a read waits ends it.
		client.SetDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { client.SetReadDeadline(time.Unix(1, 0)) })
		_, err = client.Read(make([]byte, 1))
		isOp(t, err, "read", os.ErrDeadlineExceeded)
		assert.Equal(t, time.Minute+2*time.Second, time.Since(start))
	})
}

func TestHalfClose(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		client.Write([]byte("last words"))
		require.NoError(t, client.CloseWrite())
		b, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.Equal(t, "last words", string(b))
		server.Write([]byte("answer"))
		assert.Equal(t, "answer", read(t, client, 6))
		_, err = client.Write([]byte("x"))
		isOp(t, err, "write", syscall.EPIPE)
	})
}

func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		client.Write([]byte("last words"))
		require.NoError(t, client.Close())
		isOp(t, client.Close(), "close", net.ErrClosed)
		isOp(t, client.CloseWrite(), "close", net.ErrClosed)
		_, err := client.Read(make([]byte, 1))
		isOp(t, err, "read", net.ErrClosed)
		_, err = client.Write([]byte("x"))
		isOp(t, err, "write", net.ErrClosed)

		b, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.Equal(t, "last words", string(b))
		_, err = server.Write([]byte("unheard"))
		require.NoError(t, err, "the first write after the peer's close is taken")
		_, err = server.Write([]byte("unheard"))
		isOp(t, err, "write", syscall.EPIPE)
	})
}

func TestCloseWakesWaiters(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		var readErr, writeErr, peerErr error
		go func() { _, readErr = client.Read(make([]byte, 1)) }()
		go func() { _, writeErr = client.Write(make([]byte, 2*bufferSize)) }()
		go func() { _, peerErr = server.Write(make([]byte, 2*bufferSize)) }()
		synctest.Wait()
		require.NoError(t, client.Close())
		synctest.Wait()
		isOp(t, writeErr, "write", net.ErrClosed)
		isOp(t, peerErr, "write", syscall.ECONNRESET)
		if readErr != nil { // it may have got some of what the peer sent
			isOp(t, readErr, "read", net.ErrClosed)
		}
	})
}

func TestReset(t *testing.T) {
	ways := map[string]func(n *Network, client, server *Conn){
		"by SetLinger and Close": func(n *Network, client, server *Conn) { server.SetLinger(0); server.Close() },
		"by the network":         func(n *Network, client, server *Conn) { n.Reset(addr) },
		"by closing with data unread": func(n *Network, client, server *Conn) {
			client.Write([]byte("unread"))
			server.Close()
		},
	}
	for name, reset := range ways {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
				server.Write([]byte("before"))
				reset(n, client, server)
				assert.Equal(t, "before", read(t, client, 6), "what had arrived stays readable")
				for range 2 {
					_, err := client.Read(make([]byte, 1))
					isOp(t, err, "read", syscall.ECONNRESET)
				}
				_, err := client.Write([]byte("x"))
				isOp(t, err, "write", syscall.ECONNRESET)
				_, err = client.Write([]byte("x"))
				isOp(t, err, "write", syscall.EPIPE)
			})
		})
	}
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		dial := func() error {
			c, err := n.DialContext(t.Context(), "tcp", addr)
			if err == nil {
				c.Close()
			}
			return err
		}
		isOp(t, dial(), "dial", syscall.ECONNREFUSED)
		l, err := n.Listen(addr)
		require.NoError(t, err)
		_, err = n.Listen(addr)
		isOp(t, err, "listen", syscall.EADDRINUSE)
		require.NoError(t, dial())
		n.Refuse(addr)
		isOp(t, dial(), "dial", syscall.ECONNREFUSED)
		n.Heal(addr)
		require.NoError(t, dial())

		pending, err := n.DialContext(t.Context(), "tcp", addr)
		require.NoError(t, err)
		require.NoError(t, l.Close())
		isOp(t, l.Close(), "close", net.ErrClosed)
		_, err = l.Accept()
		isOp(t, err, "accept", net.ErrClosed)
		isOp(t, dial(), "dial", syscall.ECONNREFUSED)
		_, err = pending.Read(make([]byte, 1))
		isOp(t, err, "read", syscall.ECONNRESET)
		pending.Close()
		assert.Zero(t, n.Open(addr))

		l, err = n.Listen(addr)
		require.NoError(t, err, "an address is free again when its listener closes")
		l.Close()
		_, err = n.DialContext(t.Context(), "udp", addr)
		isOp(t, err, "dial", net.UnknownNetworkError("udp"))
	})
}

func TestFullBacklogDelaysDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, err := n.Listen(":0")
		require.NoError(t, err)
		for range backlog {
			_, err := n.DialContext(t.Context(), "tcp", l.Addr().String())
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = n.DialContext(ctx, "tcp", l.Addr().String())
		isOp(t, err, "dial", context.DeadlineExceeded)
		l.Close()
	})
}

func TestBlackhole(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		n.Blackhole(addr)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		_, err := n.DialContext(ctx, "tcp", addr)
		isOp(t, err, "dial", context.DeadlineExceeded)
		assert.Equal(t, time.Hour, time.Since(start))

		server.Write([]byte("late"))
		client.SetReadDeadline(time.Now().Add(time.Second))
		_, err = client.Read(make([]byte, 4))
		isOp(t, err, "read", os.ErrDeadlineExceeded)
		client.SetReadDeadline(time.Time{})

		time.AfterFunc(time.Minute, func() { n.Heal(addr) })
		again, err := n.DialContext(t.Context(), "tcp", addr)
		require.NoError(t, err, "a dial that waits goes on after Heal")
		again.Close()
		assert.Equal(t, "late", read(t, client, 4))
	})
}

func TestLatency(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		n.Latency(addr, 100*time.Millisecond)
		go func() { // echo
			io.Copy(server, server)
			server.CloseWrite()
		}()
		start := time.Now()
		client.Write([]byte("ping"))
		assert.Equal(t, "ping", read(t, client, 4))
		assert.Equal(t, 100*time.Millisecond, time.Since(start))

		start = time.Now()
		c, err := n.DialContext(t.Context(), "tcp", addr)
		require.NoError(t, err)
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
		c.Close()

		start = time.Now()
		client.CloseWrite() // the end takes as long as data
		_, err = io.ReadAll(client)
		require.NoError(t, err)
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
	})
}

func TestCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
		assert.Equal(t, 1, n.Opened(addr))
		assert.Equal(t, 1, n.Open(addr))
		client.Close()
		assert.Equal(t, 1, n.Open(addr), "one end is still open")
		server.Close()
		server.Close()
		assert.Equal(t, 0, n.Open(addr))
		assert.Equal(t, 1, n.Opened(addr))
	})
}

// What is written is read, whole and in order, whatever the sizes of reads and
// writes and however the latency changes meanwhile. That the check can fail is
// shown by a reader that loses a byte.
func TestStreamIsWholeAndInOrder(t *testing.T) {
	stream := func(t *testing.T, seed uint64, lose bool) (sent, got []byte) {
		inBubble(t, func(t *testing.T, n *Network, client, server *Conn) {
			rng := rand.New(rand.NewPCG(seed, 1))
			sizes := rand.New(rand.NewPCG(seed, 2))
			go func() {
				for range 200 {
					chunk := make([]byte, rng.IntN(3*bufferSize/2)/(1+rng.IntN(100)))
					for i := range chunk {
						chunk[i] = byte(rng.Uint32())
					}
					sent = append(sent, chunk...)
					n.Latency(addr, time.Duration(rng.IntN(50))*time.Millisecond)
					client.Write(chunk)
				}
				client.CloseWrite()
			}()
			for {
				b := make([]byte, 1+sizes.IntN(bufferSize))
				m, err := server.Read(b)
				if lose && m > 1 {
					m, lose = m-1, false
				}
				got = append(got, b[:m]...)
				if err != nil {
					require.Equal(t, io.EOF, err)
					break
				}
			}
		})
		return sent, got
	}
	for seed := range uint64(20) {
		sent, got := stream(t, seed, false)
		require.True(t, bytes.Equal(sent, got), "seed %d: %d bytes sent, %d read", seed, len(sent), len(got))
		sent, got = stream(t, seed, true)
		require.False(t, bytes.Equal(sent, got), "seed %d: the loss of a byte was not noticed", seed)
	}
}
