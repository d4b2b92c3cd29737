package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/discovery"
)

// policy is a way to choose the endpoint of a call.
type policy struct {
	// name is that of the flag and of the table.
	name string
	// note says more about it in the picture.
	note string
	// balancer is nil for a client without a mesh; http2 is such a client that
	// speaks HTTP/2, so that one connection is enough for it.
	balancer balancer.Policy
	http2    bool
	// own is set for what the others are compared with.
	own bool
}

func policies() []policy {
	return []policy{
		{name: "one HTTP/2 connection", note: "without a mesh", http2: true},
		{name: "HTTP/1 connections", note: "without a mesh"},
		{name: "random", balancer: balancer.Random{}},
		{name: "round robin", balancer: balancer.RoundRobin{}},
		{name: "least request", balancer: balancer.LeastRequest{}},
		{name: "peak EWMA", balancer: balancer.PeakEWMA{}},
		{name: "load-fed", note: "by what servers report", balancer: balancer.LoadFed{}, own: true},
	}
}

// caller is one of many who make calls. It has nothing in common with the
// others: what it knows of servers it has from its own calls.
type caller struct {
	client *http.Client
	mesh   *tulle.Mesh // nil for a client without a mesh
}

// newCaller returns a caller of the servers at addrs.
func newCaller(p policy, addrs []string, draw func() uint64) (*caller, error) {
	if p.balancer == nil {
		return &caller{client: plainClient(addrs, draw, p.http2)}, nil
	}
	mesh, err := tulle.New(tulle.Config{
		Services: []tulle.Service{{
			Name:     "jobs",
			Resolver: discovery.Addrs(addrs...),
			Balancer: p.balancer,
		}},
	}, tulle.WithRand(draw))
	if err != nil {
		return nil, err
	}
	return &caller{mesh.Client(), mesh}, nil
}

// plainClient returns what callers have without a mesh, in front of a virtual
// address such as that of a service of Kubernetes: each new connection falls
// to a server by chance, and is kept. With HTTP/2 a caller has one for all its
// calls. With HTTP/1.1 it mostly goes on with the one that it used last, and
// makes another when that is busy.
func plainClient(addrs []string, draw func() uint64, http2 bool) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addrs[draw()%uint64(len(addrs))])
	}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(!http2)
	t.Protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{Transport: t}
}

// ready returns when the caller knows its endpoints.
func (c *caller) ready(ctx context.Context) error {
	if c.mesh == nil {
		return nil
	}
	return c.mesh.Ready(ctx)
}

// close ends what the caller has open.
func (c *caller) close() error {
	c.client.CloseIdleConnections()
	if c.mesh == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.mesh.Shutdown(ctx)
}

// callers makes all callers of a load.
func callers(ctx context.Context, p policy, addrs []string, l load) (all []*caller, err error) {
	for i := range l.callers {
		c, err := newCaller(p, addrs, seeded(l.seed, uint64(i)))
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	for _, c := range all {
		err = errors.Join(err, c.ready(ctx))
	}
	return all, err
}

// seeded returns one of many sources of chance that a seed gives, the same in
// every run.
func seeded(seed, which uint64) func() uint64 {
	var mu sync.Mutex
	source := rand.NewPCG(seed, which+1)
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return source.Uint64()
	}
}
