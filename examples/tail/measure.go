package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// patience is how long a caller waits for an answer.
const patience = 3 * time.Second

// measure runs a load under a policy, on processes of its own.
func measure(ctx context.Context, p policy, l load, troubles []trouble) (result, error) {
	servers, err := startFleet(ctx, l.servers)
	if err != nil {
		return result{}, err
	}
	defer servers.stop()
	everybody, err := callers(ctx, p, servers.addrs(), l)
	defer func() {
		for _, c := range everybody {
			// What could not be closed ends with the servers.
			_ = c.close()
		}
	}()
	if err != nil {
		return result{}, err
	}

	calls := l.calls()
	outcomes := make([]outcome, len(calls))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	begin := time.Now()
	var all sync.WaitGroup
	var suffered error
	all.Go(func() { suffered = servers.suffer(ctx, begin, troubles) })
	for i, c := range calls {
		if !wait(ctx, begin.Add(c.at)) {
			break
		}
		all.Go(func() { outcomes[i] = everybody[c.caller].call(ctx, c.work, begin.Add(c.at)) })
	}
	all.Wait()
	if err := errors.Join(ctx.Err(), suffered); err != nil {
		return result{}, err
	}
	r := newResult(p, calls, outcomes, servers.addrs(), troubles)
	for _, c := range everybody {
		r.addState(c)
	}
	return r, nil
}

// outcome is what became of a call.
type outcome struct {
	// took is from when the call was due, so that what keeps the caller from
	// making it in time counts too.
	took time.Duration
	late time.Duration
	// server is the address that the call went to last, "" if to none.
	server string
	kind   kind
}

// kind is how a call ended.
type kind uint8

const (
	answered kind = iota
	// failed is an answer that is none, or none at all.
	failed
	// expired is a call whose caller has waited in vain.
	expired
)

// call makes a call that was due at a time.
func (c *caller) call(ctx context.Context, work time.Duration, due time.Time) (o outcome) {
	o.late = time.Since(due)
	ctx, cancel := context.WithDeadline(ctx, due.Add(patience))
	defer cancel()
	// A connection may come while the call is given up.
	var mu sync.Mutex
	var server string
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		mu.Lock()
		defer mu.Unlock()
		server = info.Conn.RemoteAddr().String()
	}})
	status, err := c.get(traced, "http://jobs/?work="+url.QueryEscape(work.String()))
	o.took = time.Since(due)
	mu.Lock()
	o.server = server
	mu.Unlock()
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		o.kind = expired
	case err != nil || status != http.StatusOK:
		o.kind = failed
	default:
		o.kind = answered
	}
	return o
}

// get makes a request and reads what comes.
func (c *caller) get(ctx context.Context, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
