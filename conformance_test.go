package tulle_test

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
	"github.com/tulle-mesh/tulle/tulletest"
)

// The mesh keeps the contract of http.RoundTripper whatever it does: where it
// does nothing, and where every call goes through all of it.
func TestConformance(t *testing.T) {
	everything := tulle.Config{
		Services: []tulle.Service{
			// External, so that no hint is written.
			{Name: "any", Resolver: at("192.0.2.1:80"), External: true},
			{Name: "other", Resolver: at("192.0.2.1:80"), External: true},
		},
		Routes: []tulle.Route{{
			Name: "all", Sticky: &match.Key{Header: "X-User"},
			Split: []tulle.Destination{{Service: "any", Weight: 1}, {Service: "other"}},
		}},
		Policies: tulle.Policies{Timeout: 24 * time.Hour, Retry: &retry.Policy{PerTry: 23 * time.Hour}},
	}
	observing := everything
	observing.Policies.Retry = &retry.Policy{Mode: outcome.Observe}
	observing.Policies.Fault = &fault.Policy{Mode: outcome.Observe, PerAttempt: true, Abort: &fault.Abort{Percent: 100, Status: 503}}
	filtered := tulle.Config{Routes: []tulle.Route{{Name: "all", Match: []match.Request{{Hosts: []string{"service.test", "192.0.2.1"}}}, Filters: routing.Filters{
		Response: routing.HeaderEdit{Remove: []string{"X-Never-There"}},
		Request:  routing.HeaderEdit{Remove: []string{"X-Never-There"}},
	}}}}
	refusing := tulle.Config{RefuseUnknownHosts: &tulle.RefuseUnknownHosts{Mode: outcome.Observe}}
	for _, row := range []struct {
		name   string
		config tulle.Config
		opts   []tulle.Option
	}{
		{"nothing configured", tulle.Config{}, nil},
		{"nothing configured, middleware", tulle.Config{}, []tulle.Option{tulle.WithMiddleware(through)}},
		{"unknown hosts observed", refusing, nil},
		{"route to unknown hosts", filtered, nil},
		{"everything on", everything, nil},
		{"everything on, middleware", everything, []tulle.Option{tulle.WithMiddleware(through), tulle.WithAttemptMiddleware(through)}},
		{"everything observed", observing, nil},
		{"everything on, watched", everything, []tulle.Option{
			tulle.WithTracerProvider(&oteltest.Traces{}), tulle.WithMeterProvider(&oteltest.Metrics{}),
			tulle.WithAccessLog(slog.New(slog.DiscardHandler)),
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			tulletest.TestRoundTripper(t, func(base http.RoundTripper) http.RoundTripper {
				c := row.config
				if len(c.Services) > 0 {
					// Endpoints speak what the transport given speaks.
					c.Services = slices.Clone(c.Services)
					for i := range c.Services {
						c.Services[i].Protocol = tulle.HTTP1
						if base.(*http.Transport).Protocols.UnencryptedHTTP2() {
							c.Services[i].Protocol = tulle.H2C
						}
					}
				}
				m, err := tulle.New(c, append([]tulle.Option{tulle.WithTransport(base)}, row.opts...)...)
				require.NoError(t, err)
				return &closable{m.Transport(), m}
			})
		})
	}
}

// closable is a mesh that the kit can close.
type closable struct {
	http.RoundTripper
	mesh *tulle.Mesh
}

func (c *closable) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.mesh.Shutdown(ctx)
	return nil
}

func (c *closable) CloseIdleConnections() {
	c.RoundTripper.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// through is middleware that does nothing.
func through(next http.RoundTripper) http.RoundTripper { return passOn{next} }

type passOn struct{ next http.RoundTripper }

func (p passOn) RoundTrip(r *http.Request) (*http.Response, error) { return p.next.RoundTrip(r) }

func (p passOn) CloseIdleConnections() {
	if c, ok := p.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
