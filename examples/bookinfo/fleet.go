package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
)

// fleet is all processes of Bookinfo and a user who looks at its page. One
// goroutine at a time may use it.
type fleet struct {
	processes []*process
	rules     rules
	perTry    time.Duration
	client    *http.Client
	alerts    *inbox
	issuer    *issuer
	authority *authority
}

// rules are what tasks change in the meshes of all processes.
type rules struct {
	// routes reach the meshes of those who call the hosts that they match.
	routes []tulle.Route
	retry  bool
	// outliers, if there are any, leave out endpoints that fail.
	outliers *health.Outliers
	// plain has details called in plain text, which it does not take; fresh has
	// connections to it used only once.
	plain, fresh bool
	// guard, if there is any, is what requests to productpage have to pass.
	guard *tulle.Guard
	// grace is how long processes go on serving when they are told to stop;
	// zero is a moment that nobody has to wait for.
	grace time.Duration
	// nearest prefers endpoints in the zone of the caller to all others.
	nearest bool
}

// of returns the routes for the calls that a service makes.
func (r rules) of(service string) []tulle.Route {
	var own []tulle.Route
	for _, route := range r.routes {
		if slices.ContainsFunc(route.Match, func(m match.Request) bool {
			return slices.ContainsFunc(m.Hosts, func(host string) bool { return slices.Contains(calls(service), host) })
		}) {
			own = append(own, route)
		}
	}
	return own
}

// members are the processes of a fleet. Who dies alone and is missed stands
// once, who has others to stand in for him several times: two of the endpoints
// of ratings are near to those who call them, one is in another zone.
func members() []*process {
	return []*process{
		{service: "productpage", version: "v1", zone: "a"},
		{service: "details", version: "v1", zone: "a"},
		{service: "details", version: "v1", zone: "b"},
		{service: "reviews", version: "v1", zone: "a"},
		{service: "reviews", version: "v2", zone: "a"},
		{service: "reviews", version: "v3", zone: "a"},
		{service: "ratings", version: "v1", zone: "a"},
		{service: "ratings", version: "v1", zone: "a"},
		{service: "ratings", version: "v1", zone: "b"},
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

// defaultGrace is how long a process that is told to stop goes on serving:
// nobody calls it so rarely that he would not learn of it.
const defaultGrace = 500 * time.Millisecond

// startFleet starts all processes and makes them known to one another. The
// page is at port if that is free. perTry is how long an attempt at ratings
// may take; those who wait for it get four times as long.
func startFleet(ctx context.Context, port int, seed uint64, perTry time.Duration) (*fleet, error) {
	f, err := equip(members(), perTry)
	if err != nil {
		return nil, err
	}
	for i, p := range f.processes {
		p.addr, p.alerts = "127.0.0.1:0", f.alerts.url
		if p.service == "details" {
			p.cert, p.key = f.authority.files(p.service)
		}
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

// equip returns a fleet whose processes have not been started, with all that
// they need besides.
func equip(processes []*process, perTry time.Duration) (f *fleet, err error) {
	f = &fleet{processes: processes, perTry: perTry, client: newClient()}
	if f.alerts, err = openInbox(); err != nil {
		return nil, err
	}
	if f.issuer, err = openIssuer(); err != nil {
		f.alerts.close()
		return nil, err
	}
	if f.authority, err = newAuthority(); err == nil {
		if _, err = f.authority.certify("details", time.Now().Add(forLong)); err == nil {
			return f, nil
		}
		f.authority.close()
	}
	f.alerts.close()
	f.issuer.close()
	return nil, err
}

// apply has all processes take over rules. Those that cannot keep nobody
// else from it.
func (f *fleet) apply(ctx context.Context, r rules) error {
	f.rules = r
	var errs []error
	for _, p := range f.processes {
		errs = append(errs, f.tell(ctx, p, p.settings.Fault))
	}
	return errors.Join(errs...)
}

// tell has a process take over the rules in force, and make trouble or none.
func (f *fleet) tell(ctx context.Context, p *process, trouble *fault.Policy) error {
	s := settings{
		Routes: f.rules.of(p.service), Retry: f.rules.retry, PerTry: f.perTry, Outliers: f.rules.outliers,
		Nearest: f.rules.nearest, Grace: cmp.Or(f.rules.grace, defaultGrace), Fault: trouble,
	}
	for _, name := range calls(p.service) {
		if s.Endpoints == nil {
			s.Endpoints = map[string][]endpoint.Info{}
		}
		for _, other := range f.of(name) {
			s.Endpoints[name] = append(s.Endpoints[name],
				endpoint.Info{Addr: other.addr, Zone: other.zone, Labels: map[string]string{"version": other.version}})
		}
	}
	if p.service == "productpage" {
		if s.Fresh = f.rules.fresh; !f.rules.plain {
			s.Authorities = map[string]string{"details": f.authority.pem}
		}
		s.PerTry = 4 * f.perTry
		if f.rules.guard != nil {
			s.Guard = f.issuer.publish(*f.rules.guard)
		}
	}
	return p.order(ctx, s)
}

// restart runs a process again that has ended, at the same address.
func (f *fleet) restart(ctx context.Context, p *process) error {
	if err := p.start(ctx); err != nil {
		return err
	}
	return f.tell(ctx, p, p.settings.Fault)
}

// burden has processes make trouble until end is called.
func (f *fleet) burden(ctx context.Context, victims []*process, trouble fault.Policy) (end func(context.Context) error, err error) {
	all := func(ctx context.Context, trouble *fault.Policy) error {
		var errs []error
		for _, p := range victims {
			errs = append(errs, f.tell(ctx, p, trouble))
		}
		return errors.Join(errs...)
	}
	return func(ctx context.Context) error { return all(ctx, nil) }, all(ctx, &trouble)
}

// strike kills processes, all of them before any is missed. They are back at
// the same addresses when end has been called.
func (f *fleet) strike(victims []*process) (end func(context.Context) error) {
	var all sync.WaitGroup
	for _, p := range victims {
		all.Go(p.kill)
	}
	all.Wait()
	return func(ctx context.Context) error {
		var errs []error
		for _, p := range victims {
			errs = append(errs, f.restart(ctx, p))
		}
		return errors.Join(errs...)
	}
}

// freeze pauses processes until end is called.
func (f *fleet) freeze(victims []*process) (end func(context.Context) error, err error) {
	var errs []error
	for _, p := range victims {
		errs = append(errs, p.pause())
	}
	return func(context.Context) error {
		var errs []error
		for _, p := range victims {
			errs = append(errs, p.resume())
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

// in returns the processes of a service that run in a zone.
func (f *fleet) in(zone, service string) []*process {
	return slices.DeleteFunc(f.of(service), func(p *process) bool { return p.zone != zone })
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

// version returns the processes of one version of a service.
func (f *fleet) version(service, version string) []*process {
	return slices.DeleteFunc(f.of(service), func(p *process) bool { return p.version != version })
}

// copies returns how many copies of calls productpage has sent under the rules
// in force.
func (f *fleet) copies(ctx context.Context) (uint64, error) {
	state, err := f.view(ctx, f.processes[0])
	if err != nil {
		return 0, err
	}
	var sent uint64
	for _, r := range state.Routes {
		for _, m := range r.Mirrors {
			sent += m.Sent
		}
	}
	return sent, nil
}

// stop ends all processes, the ones that are paused too, and returns when
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
	f.alerts.close()
	f.issuer.close()
	f.authority.close()
}

// table lists the processes.
func (f *fleet) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "  SERVICE\tVERSION\tZONE\tPID\tADDRESS\tMESH STATE")
	for _, p := range f.processes {
		debug := ""
		if len(calls(p.service)) > 0 {
			debug = "http://" + p.debug + "/"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d\t%s\t%s\n", p.service, p.version, p.zone, p.pid(), p.addr, debug)
	}
	// An error means that nobody reads.
	_ = w.Flush()
}
