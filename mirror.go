package tulle

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/mirror"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
)

// reflection is a Mirror of a route made ready.
type reflection struct {
	mirror *mirror.Mirror
	config Mirror
	// route is what a copy goes by: it changes requests as the route does.
	route *route
	dest  *destination
}

// reflections makes a route's mirrors ready. An equal one keeps its counts.
func (p *plan) reflections(c *Route, services map[string]*Service, before *route, was *plan) ([]*reflection, error) {
	var all []*reflection
	for i, m := range c.Mirrors {
		path := fmt.Sprintf("mirrors[%d] (%s)", i, m.Service)
		// The mirror's own time-out bounds a copy, which is never repeated.
		once := Policies{Timeout: -1, Retry: &retry.Policy{Attempts: 1}}
		d, err := p.destination(services[m.Service], m.Subset, once, was)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r := &reflection{config: m, dest: d, route: &route{
			name: c.Name, sticky: c.Sticky, filters: routing.Filters{Request: c.Filters.Request, Rewrite: c.Filters.Rewrite},
		}}
		if before != nil && i < len(before.mirrors) && before.mirrors[i].config == m {
			r.mirror = before.mirrors[i].mirror
		} else if r.mirror, err = mirror.New(m.Policy, p.services[m.Service].options.draw); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// reflect launches copies of the call, detached. It comes after the
// destination is known, so that a call which goes nowhere has no copy, and
// before the loop, which consumes the body. It returns the request to go on
// with, whose body may be recorded on its way.
func (c *Call) reflect(in *http.Request) *http.Request {
	for _, r := range c.route.mirrors {
		in = r.mirror.Reflect(in, func(out *http.Request) (*http.Response, error) {
			return (&Call{
				mesh: c.mesh, parent: out.Context(), start: time.Now(), mirrored: true,
				route: r.route, dest: r.dest, part: -1, prefix: c.prefix,
			}).run(out)
		})
	}
	return in
}
