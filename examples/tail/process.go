package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// process is a server in a process of its own: this binary, executed again.
type process struct {
	addr  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	// ended is closed when there is no such process any more.
	ended chan struct{}
}

// grace is how long a process may take to start, and to end.
const grace = 10 * time.Second

// start runs a process and waits until it listens.
func start(ctx context.Context) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, serverCommand), ended: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	endWithParent(p.cmd)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	said := make(chan string, 1)
	go func() {
		defer close(p.ended)
		out := bufio.NewReader(stdout)
		if line, err := out.ReadString('\n'); err == nil {
			said <- strings.TrimSpace(line)
		}
		_, _ = io.Copy(io.Discard, out)
		// How it ended matters to nobody: whether it served does.
		_ = p.cmd.Wait()
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case p.addr = <-said:
		return p, nil
	case <-p.ended:
		err = errors.New("a server has ended before it listened")
	case <-timer.C:
		err = fmt.Errorf("a server does not listen within %v", grace)
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.kill()
	return nil, err
}

// order tells the process how it is to be.
func (p *process) order(o order) error { return json.NewEncoder(p.stdin).Encode(o) }

// leave lets the process end by itself and sees that it does.
func (p *process) leave() {
	_ = p.stdin.Close()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		p.kill()
	}
}

// kill ends the process, paused or not, and waits until it has ended. That
// it may have ended already is no error.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.stdin.Close()
}

// fleet is all servers.
type fleet []*process

// startFleet starts n servers.
func startFleet(ctx context.Context, n int) (fleet, error) {
	var f fleet
	for range n {
		p, err := start(ctx)
		if err != nil {
			f.stop()
			return nil, err
		}
		f = append(f, p)
	}
	return f, nil
}

// addrs returns where the servers are, in their order.
func (f fleet) addrs() []string {
	var all []string
	for _, p := range f {
		all = append(all, p.addr)
	}
	return all
}

// stop ends all servers, and returns when there are none any more.
func (f fleet) stop() {
	var all sync.WaitGroup
	for _, p := range f {
		all.Go(func() {
			// One that is paused could not see that it is to end.
			_ = p.resume()
			p.leave()
		})
	}
	all.Wait()
}

// suffer does to the servers what happens to them, each at its time after
// begin, until everything has happened or ctx ends.
func (f fleet) suffer(ctx context.Context, begin time.Time, troubles []trouble) error {
	var all sync.WaitGroup
	errs := make([]error, len(troubles))
	for i, t := range troubles {
		all.Go(func() {
			p := f[t.server]
			if !wait(ctx, begin.Add(t.from)) {
				return
			}
			on, off := func() error { return p.order(t.order) }, func() error { return p.order(order{}) }
			if t.paused {
				on, off = p.pause, p.resume
			}
			errs[i] = on()
			wait(ctx, begin.Add(t.to))
			errs[i] = errors.Join(errs[i], off())
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// wait waits for a time, and reports whether it came before ctx ended.
func wait(ctx context.Context, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
