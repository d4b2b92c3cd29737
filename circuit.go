package tulle

import (
	"sync"

	"github.com/tulle-mesh/tulle/breaker"
)

// circuit is a breaker together with what has been told of its incidents: of
// each its beginning and its end, or neither.
type circuit struct {
	*breaker.Breaker
	tell func(breaker.Event)

	mu sync.Mutex
	// admitted says that incidents count. The breaker of an endpoint has them
	// all the time, but what leaves no endpoint out is none.
	admitted bool
	untold   *breaker.Event // began before it was admitted
	told     bool           // the beginning, and not yet the end
	retired  bool
}

// newCircuit returns a circuit whose breaker, told of by tell, is that of a
// service or, with an address, of an endpoint. See is called when it changes.
func newCircuit(p breaker.Policy, service, addr string, draw func() uint64, tell func(breaker.Event), see func()) (*circuit, error) {
	c := &circuit{tell: tell, admitted: addr == ""}
	b, err := breaker.New(p, breaker.Options{Service: service, Endpoint: addr, Draw: draw, OnEvent: func(e breaker.Event) {
		c.event(e)
		see()
	}})
	c.Breaker = b
	return c, err
}

func (c *circuit) event(e breaker.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !e.Open:
		if c.untold = nil; c.told {
			c.told = false
			c.tell(e)
		}
	case c.retired:
	case c.admitted:
		c.told = true
		c.tell(e)
	default:
		c.untold = &e
	}
}

// admit lets the present incident, and those that follow, count.
func (c *circuit) admit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.admitted = true; c.untold != nil {
		c.told = true
		c.tell(*c.untold)
		c.untold = nil
	}
}

// withdraw lets incidents count no more, until the next admit.
func (c *circuit) withdraw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.admitted = false
}

func (c *circuit) isAdmitted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admitted
}

// retire ends the present incident, if there is one, and every other unheard:
// nobody asks the breaker any more, but results may still come.
func (c *circuit) retire() {
	c.mu.Lock()
	c.retired = true
	c.mu.Unlock()
	c.Reset()
}
