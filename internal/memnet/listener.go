package memnet

import (
	"net"
	"sync"
)

// backlog is how many dialled connections wait for Accept before further
// dials wait too.
const backlog = 128

// Listener accepts the connections dialled to one address.
type Listener struct {
	addr    net.Addr
	pending chan *Conn
	done    chan struct{}
	once    sync.Once
	forget  func()
}

func newListener(addr net.Addr, forget func()) *Listener {
	return &Listener{
		addr:    addr,
		pending: make(chan *Conn, backlog),
		done:    make(chan struct{}),
		forget:  forget,
	}
}

// Accept returns the next connection, or an error that is net.ErrClosed once
// the listener is closed.
func (l *Listener) Accept() (net.Conn, error) {
	// Looked at first: of several ready cases select takes any.
	if l.isClosed() {
		return nil, l.closedError("accept")
	}
	select {
	case c := <-l.pending:
		return c, nil
	case <-l.done:
		return nil, l.closedError("accept")
	}
}

// Close refuses further dials and resets connections that were not accepted.
func (l *Listener) Close() error {
	err := l.closedError("close")
	l.once.Do(func() {
		err = nil
		l.forget()
		close(l.done)
		for {
			select {
			case c := <-l.pending:
				c.SetLinger(0)
				c.Close()
			default:
				return
			}
		}
	})
	return err
}

// Addr returns the address listened on.
func (l *Listener) Addr() net.Addr { return l.addr }

func (l *Listener) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *Listener) closedError(op string) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}
