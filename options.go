package tulle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"

	"github.com/tulle-mesh/tulle/telemetry"
)

// Option wires a mesh into its process. What a mesh does is in Config.
type Option interface{ apply(*options) }

type options struct {
	base   http.RoundTripper
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	logger *slog.Logger
	draw   func() uint64
	hooks  Hooks
	// errorWriter is nil for WriteError.
	errorWriter func(http.ResponseWriter, *http.Request, *Error)
	telemetry   telemetry.Options
	middleware  []Middleware
	perAttempt  []Middleware
	faults      []error
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

// Middleware wraps a RoundTripper in another.
type Middleware = func(http.RoundTripper) http.RoundTripper

// WithTransport sets the transport that carries calls to hosts outside the
// mesh; by default it is http.DefaultTransport. If it is an *http.Transport,
// its settings are also those of the connections to endpoints, as far as the
// service does not say otherwise. Its Proxy is not used for them, and with a
// DialTLSContext or DialTLS, which cannot be, services are refused: that a
// connection is made in a certain way must not be lost in silence. A service
// with TLS verifies certificates whatever the transport says.
func WithTransport(rt http.RoundTripper) Option {
	return optionFunc(func(o *options) { o.base = rt })
}

// WithDialer sets how endpoints are dialled: network is "tcp" or "unix". By
// default it is the DialContext of the transport, else that of a net.Dialer.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return optionFunc(func(o *options) { o.dial = dial })
}

// WithLogger sets where the mesh reports what happens outside of calls, such
// as discovery that fails and recovers. By default it reports nothing.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(o *options) { o.logger = l })
}

// WithRand sets the source of all chance: which part of a split, which
// endpoint. It is called by many goroutines at once. By default it is the
// generator of the Go runtime; a seeded one makes a test repeatable.
func WithRand(draw func() uint64) Option {
	return optionFunc(func(o *options) { o.draw = draw })
}

// WithMiddleware puts middleware around each call, the first outermost: it
// sees the request as the caller made it, once. Inside it CallFrom finds the
// call in the request's context.
func WithMiddleware(mw ...Middleware) Option {
	return optionFunc(func(o *options) { o.middleware = append(o.middleware, mw...) })
}

// WithAttemptMiddleware puts middleware around each attempt, the first
// outermost: it sees the request as it goes to one endpoint, whose transport
// is what it wraps, and the response as it comes from there, with the load
// report. It is called once for each endpoint, not for each attempt.
func WithAttemptMiddleware(mw ...Middleware) Option {
	return optionFunc(func(o *options) { o.perAttempt = append(o.perAttempt, mw...) })
}

// WithHooks sets functions that are told of calls and attempts. Several sets
// are called one after the other.
func WithHooks(h Hooks) Option {
	return optionFunc(func(o *options) { o.hooks = o.hooks.and(h) })
}

func newOptions(opts []Option) (options, error) {
	o := options{base: http.DefaultTransport, logger: slog.New(slog.DiscardHandler), draw: rand.Uint64}
	for i, opt := range opts {
		if opt == nil {
			o.faults = append(o.faults, fmt.Errorf("tulle: option %d is nil", i))
			continue
		}
		opt.apply(&o)
	}
	if slices.ContainsFunc(slices.Concat(o.middleware, o.perAttempt), func(mw Middleware) bool { return mw == nil }) {
		o.faults = append(o.faults, errors.New("tulle: middleware is nil"))
	}
	if t, ok := o.base.(*http.Transport); o.base == nil || ok && t == nil {
		o.base = http.DefaultTransport
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.draw == nil {
		o.draw = rand.Uint64
	}
	if o.dial == nil {
		if t, ok := o.base.(*http.Transport); ok && t.DialContext != nil {
			o.dial = t.DialContext
		} else {
			o.dial = (&net.Dialer{}).DialContext
		}
	}
	return o, errors.Join(o.faults...)
}

// writeError answers a request that the mesh refuses.
func (o *options) writeError(w http.ResponseWriter, r *http.Request, e *Error) {
	if o.errorWriter == nil {
		WriteError(w, r, e)
		return
	}
	setRefusal(w.Header(), e)
	o.errorWriter(w, r, e)
}

// check returns every fault of a Config, alone and with the options.
func (o *options) check(c Config) error {
	var fault error
	//lint:ignore SA1019 it may still be set
	if t, ok := o.base.(*http.Transport); ok && len(c.Services) > 0 && (t.DialTLSContext != nil || t.DialTLS != nil) {
		fault = errors.New("services: the transport has a DialTLSContext or DialTLS, which cannot dial endpoints; " +
			"use WithDialer and Service.TLS")
	}
	return errors.Join(c.Validate(), fault)
}

// chain puts middleware around rt, the first outermost. One that makes
// nothing fails all calls, and says so.
func chain(mw []Middleware, rt http.RoundTripper) http.RoundTripper {
	for i := len(mw) - 1; i >= 0; i-- {
		if rt = mw[i](rt); rt == nil {
			rt = nothing{}
		}
	}
	return rt
}

var errNothing = errors.New("middleware has returned a nil RoundTripper")

type nothing struct{}

func (nothing) RoundTrip(r *http.Request) (*http.Response, error) {
	closeBody(r)
	return nil, errNothing
}
