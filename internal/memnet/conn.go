package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a connection. It has the methods of *net.TCPConn that
// programs rely on: those of net.Conn, CloseWrite and SetLinger.
// Its methods may be called from any goroutine.
type Conn struct {
	in, out       *pipe
	local, remote net.Addr
	link          *link

	mu     sync.Mutex
	closed bool
	abrupt bool   // SetLinger(0): Close resets
	gone   func() // tells the network that this end is closed
}

// pair returns the two ends of a new connection.
func pair(clientAddr, serverAddr net.Addr, l *link, gone func()) (client, server *Conn) {
	up, down := newPipe(), newPipe()
	client = &Conn{in: down, out: up, local: clientAddr, remote: serverAddr, link: l, gone: gone}
	server = &Conn{in: up, out: down, local: serverAddr, remote: clientAddr, link: l, gone: gone}
	return client, server
}

// Read reads what has arrived. A peer's reset is an error that is
// syscall.ECONNRESET, after the data that came before it.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, c.wrap("read", err)
}

// Write returns when all of b is buffered, the deadline has passed or the
// connection has ended.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b, c.link.oneWay())
	return n, c.wrap("write", err)
}

// Close ends both directions. Like a kernel's, it resets the connection when
// received data was left unread or after SetLinger(0); else the peer reads
// what is buffered and then io.EOF.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.wrap("close", net.ErrClosed)
	}
	c.closed = true
	abrupt := c.abrupt
	c.mu.Unlock()

	unread := c.in.closeRead()
	if abrupt || unread {
		c.in.breakWrites()
		c.out.finish(syscall.ECONNRESET, net.ErrClosed, c.link.oneWay())
	} else {
		c.out.finish(io.EOF, net.ErrClosed, c.link.oneWay())
	}
	c.gone()
	return nil
}

// CloseWrite ends the sending direction; the other one stays open.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return c.wrap("close", net.ErrClosed)
	}
	c.out.finish(io.EOF, syscall.EPIPE, c.link.oneWay())
	return nil
}

// SetLinger with 0 seconds makes Close reset the connection; any other value
// restores the default, as unsent data is never lost here.
func (c *Conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.wrap("set", net.ErrClosed)
	}
	c.abrupt = sec == 0
	return nil
}

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	c.out.setWriteDeadline(t)
	return nil
}

// SetReadDeadline makes reads, pending ones too, fail with
// os.ErrDeadlineExceeded from t on; the zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	return nil
}

// SetWriteDeadline is SetReadDeadline for writes.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setWriteDeadline(t)
	return nil
}

// reset cuts both directions at once, as a RST from within the network does.
func (c *Conn) reset() {
	c.in.reset()
	c.out.reset()
}

// hold stops or resumes everything under way in both directions.
func (c *Conn) hold(held bool) {
	c.in.hold(held)
	c.out.hold(held)
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
