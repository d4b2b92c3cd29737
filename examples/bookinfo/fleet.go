package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
)

// fleet is all processes of Bookinfo and a user who looks at its page. One
// goroutine at a time may use it.
type fleet struct {
	processes []*process
	rules     rules
	perTry    time.Duration
	client    *http.Client
}

// rules are what tasks change in the meshes of all processes.
type rules struct {
	routes []tulle.Route
	retry  bool
}

// members are the processes of a fleet. Who dies alone and is missed stands
// once, who has others to stand in for him several times.
func members() []*process {
	return []*process{
		{service: "productpage", version: "v1"},
		{service: "details", version: "v1"},
		{service: "details", version: "v1"},
		{service: "reviews", version: "v1"},
		{service: "reviews", version: "v2"},
		{service: "reviews", version: "v3"},
		{service: "ratings", version: "v1"},
		{service: "ratings", version: "v1"},
		{service: "ratings", version: "v1"},
	}
}

// calls says which services a service calls.
func calls(service string) []string {
	switch service {
	case "productpage":
		return []string{"details", "reviews"}
	case "reviews":
		return []string{"ratings"}
	}
	return nil
}

// startFleet starts all processes and makes them known to one another. The
// page is at port if that is free. perTry is how long an attempt at ratings
// may take; those who wait for it get four times as long.
func startFleet(ctx context.Context, port int, seed uint64, perTry time.Duration) (*fleet, error) {
	f := &fleet{processes: members(), perTry: perTry, client: &http.Client{Timeout: time.Minute}}
	for i, p := range f.processes {
		p.addr = "127.0.0.1:0"
		if seed != 0 {
			p.seed = seed + uint64(i)
		}
		if i == 0 && port != 0 {
			p.addr = fmt.Sprintf("127.0.0.1:%d", port)
		}
		err := p.start(ctx)
		if err != nil && p.addr != "127.0.0.1:0" && ctx.Err() == nil {
			p.addr = "127.0.0.1:0"
			err = p.start(ctx)
		}
		if err != nil {
			f.processes = f.processes[:i]
			f.stop()
			return nil, err
		}
	}
	if err := f.apply(ctx, rules{retry: true}); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

// apply has all processes take over rules. Those that cannot keep nobody
// else from it.
func (f *fleet) apply(ctx context.Context, r rules) error {
	f.rules = r
	var errs []error
	for _, p := range f.processes {
		errs = append(errs, f.tell(ctx, p, p.settings.Failing))
	}
	return errors.Join(errs...)
}

// tell has a process take over the rules in force, and fail or not.
func (f *fleet) tell(ctx context.Context, p *process, failing bool) error {
	s := settings{Retry: f.rules.retry, PerTry: f.perTry, Failing: failing}
	for _, name := range calls(p.service) {
		if s.Endpoints == nil {
			s.Endpoints = map[string][]endpoint.Info{}
		}
		for _, other := range f.of(name) {
			s.Endpoints[name] = append(s.Endpoints[name],
				endpoint.Info{Addr: other.addr, Labels: map[string]string{"version": other.version}})
		}
	}
	if p.service == "productpage" {
		s.Routes, s.PerTry = f.rules.routes, 4*f.perTry
	}
	return p.order(ctx, s)
}

// restart runs a process again that has ended, at the same address.
func (f *fleet) restart(ctx context.Context, p *process) error {
	if err := p.start(ctx); err != nil {
		return err
	}
	return f.tell(ctx, p, p.settings.Failing)
}

// of returns the processes of a service.
func (f *fleet) of(service string) []*process {
	var found []*process
	for _, p := range f.processes {
		if p.service == service {
			found = append(found, p)
		}
	}
	return found
}

func (f *fleet) url() string { return "http://" + f.processes[0].addr + "/productpage" }

// look asks for the page as a user, "" for one who is not logged in.
func (f *fleet) look(ctx context.Context, user string) (page, error) {
	var p page
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url()+"?format=json", nil)
	if err != nil {
		return p, err
	}
	if user != "" {
		req.AddCookie(&http.Cookie{Name: userCookie, Value: user})
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return p, err
	}
	if resp.StatusCode != http.StatusOK {
		return p, errors.New("productpage answers " + resp.Status)
	}
	return p, json.Unmarshal(body, &p)
}

// stop ends all processes, the ones that are stopped too, and returns when
// there are none any more.
func (f *fleet) stop() {
	f.client.CloseIdleConnections()
	var all sync.WaitGroup
	for _, p := range f.processes {
		all.Go(func() {
			p.leave()
			timer := time.NewTimer(3 * time.Second)
			defer timer.Stop()
			select {
			case <-p.ended:
			case <-timer.C:
				p.kill()
			}
		})
	}
	all.Wait()
}

// table lists the processes.
func (f *fleet) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "  SERVICE\tVERSION\tPID\tADDRESS\tMESH STATE")
	for _, p := range f.processes {
		debug := ""
		if len(calls(p.service)) > 0 {
			debug = "http://" + p.debug + "/"
		}
		fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%s\n", p.service, p.version, p.pid(), p.addr, debug)
	}
	// An error means that nobody reads.
	_ = w.Flush()
}
