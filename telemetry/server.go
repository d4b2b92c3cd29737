package telemetry

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/outcome"
)

// Server is where requests come in. It is got by Recorder.Server and safe for
// concurrent use; a nil Server records nothing.
type Server struct {
	recorder *Recorder
	active   [len(methods)][len(schemes)]level
	routes   atomic.Pointer[map[string]*optionCache]
	// routeless is for requests that no pattern of the program fits, excess
	// for routes beyond maxRoutes.
	routeless, excess optionCache
}

// level is how many requests are under way.
type level struct {
	now  atomic.Int64
	used atomic.Bool
}

// schemes are the values of url.scheme: with TLS it is the second. A number of
// this list stands for one of them.
var schemes = [...]string{"http", "https"}

// schemeOf returns the scheme of a request as this process sees it. What a
// proxy before it has to say of that could come from anyone.
func schemeOf(r *http.Request) uint8 {
	if r.TLS != nil {
		return 1
	}
	return 0
}

// maxRoutes bounds what a program can do that makes up patterns.
const maxRoutes = 1024

// Server returns where requests come in, nil of a nil Recorder. It is always
// the same one.
func (r *Recorder) Server() *Server {
	if r == nil {
		return nil
	}
	return &r.server
}

// Served is a request that has been answered.
type Served struct {
	// Request is what came; it is only read.
	Request *http.Request
	// Pattern is the pattern of the program that the request fits, as
	// http.ServeMux leaves it in http.Request.Pattern; empty if none is known.
	// It becomes an attribute of metrics, so that it must never be made of the
	// request.
	Pattern string
	// Rule is the name of the inbound rule that the request was subject to.
	Rule string
	// Status is the status code of the response, 0 without one.
	Status int
	// Bytes is the length of the response's body.
	Bytes int64
	// Reason is why the mesh answered in the place of the handler.
	Reason outcome.Reason
	// Principal says by what means the caller was verified. Who it is stays
	// out of all that is recorded.
	Principal identity.Kind
	// Duration is the time from the request's arrival to the end of the
	// response.
	Duration time.Duration
	// Panicked says that the handler did not return.
	Panicked bool
}

// Start begins what is recorded of a request, which Done ends, and returns a
// context for its handler. Of a trusted peer the trace goes on, and its
// baggage is in the context; of any other a new trace begins, which has a link
// to the one received. Where ctx has a trace already, that one goes on.
func (s *Server) Start(ctx context.Context, r *http.Request, trusted bool) context.Context {
	if s == nil {
		return ctx
	}
	method, scheme := methodOf(r.Method), schemeOf(r)
	if s.recorder.served != nil {
		s.active[method][scheme].now.Add(1)
		s.active[method][scheme].used.Store(true)
	}
	ctx, received := s.receive(ctx, r.Header, trusted)
	if s.recorder.tracer == nil {
		return ctx
	}
	// What the conventions want to be there for sampling comes at once.
	all := append(make([]attribute.KeyValue, 0, 12),
		semconv.HTTPRequestMethodKey.String(methods[method]), semconv.URLScheme(schemes[scheme]))
	route := routeOf(r.Pattern)
	if route != "" {
		all = append(all, semconv.HTTPRoute(route))
	}
	if r.URL != nil {
		all = append(all, semconv.URLPath(shown(redactPath(r.URL.EscapedPath(), route))))
		if r.URL.RawQuery != "" {
			all = append(all, semconv.URLQuery(shown(redactQuery(r.URL.RawQuery))))
		}
	}
	if r.Host != "" {
		host, port := splitAddr(r.Host)
		if all = append(all, semconv.ServerAddress(shown(host))); port > 0 {
			all = append(all, semconv.ServerPort(port))
		}
	}
	// The client is the peer: what headers say of others before it could come
	// from anyone.
	if addr, ok := identity.PeerAddr(r.RemoteAddr); ok {
		all = append(all, semconv.ClientAddress(addr.String()), semconv.NetworkPeerAddress(addr.String()))
		if _, port := splitAddr(r.RemoteAddr); port > 0 {
			all = append(all, semconv.NetworkPeerPort(port))
		}
	}
	options := append(make([]trace.SpanStartOption, 0, 3), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(all...))
	if received.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: received}))
	}
	ctx, span := s.recorder.tracer.Start(ctx, serverSpanName(method, route), options...)
	if !span.IsRecording() {
		return ctx
	}
	all = all[:0]
	if method == 0 {
		all = append(all, semconv.HTTPRequestMethodOriginal(shown(r.Method)))
	}
	if v := protocol(r.ProtoMajor, r.ProtoMinor); v != "" {
		all = append(all, semconv.NetworkProtocolVersion(v))
	}
	span.SetAttributes(all...)
	return ctx
}

// receive returns ctx with the trace context that a request brings, if its
// peer is trusted, or else the trace that is only to be linked to.
func (s *Server) receive(ctx context.Context, h http.Header, trusted bool) (context.Context, trace.SpanContext) {
	p := s.recorder.propagator
	if p == nil || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, trace.SpanContext{}
	}
	if trusted {
		return p.Extract(ctx, propagation.HeaderCarrier(h)), trace.SpanContext{}
	}
	if s.recorder.tracer == nil || !s.recorder.carries(h) {
		return ctx, trace.SpanContext{}
	}
	return ctx, trace.SpanContextFromContext(p.Extract(context.Background(), propagation.HeaderCarrier(h)))
}

// Done records a request that has been answered: metrics, the end of its span,
// and a line of the access log. Its context is the one that Start returned, or
// one made of it without another span.
func (s *Server) Done(ctx context.Context, v Served) {
	if s == nil {
		return
	}
	fault := faultOfServed(&v)
	method, scheme, route := methodOf(v.Request.Method), schemeOf(v.Request), routeOf(v.Pattern)
	if s.recorder.served != nil {
		s.active[method][scheme].now.Add(-1)
		key := optionKey{method: method, scheme: scheme, status: statusKey(v.Status), fault: fault}
		cache := s.route(route)
		options := cache.get(key)
		if options == nil {
			if cache == &s.excess {
				options = overflow()
			} else {
				options = cache.add(key, serverAttributes(key, route))
			}
		}
		s.recorder.served.Record(ctx, v.Duration.Seconds(), options...)
	}
	if s.recorder.tracer != nil {
		span := trace.SpanFromContext(ctx)
		if span.IsRecording() {
			v.tell(span, method, route, fault)
		}
		span.End()
	}
	s.access(ctx, &v, route)
}

// tell tells a span what became of its request.
func (v *Served) tell(span trace.Span, method uint8, route, fault string) {
	all := make([]attribute.KeyValue, 0, 8)
	if route != "" && route != routeOf(v.Request.Pattern) {
		span.SetName(serverSpanName(method, route))
		all = append(all, semconv.HTTPRoute(route))
		if u := v.Request.URL; u != nil {
			path := u.EscapedPath()
			if hidden := redactPath(path, route); hidden != path {
				all = append(all, semconv.URLPath(shown(hidden)))
			}
		}
	}
	if v.Status != 0 {
		all = append(all, semconv.HTTPResponseStatusCode(v.Status))
	}
	if v.Reason != outcome.NoReason {
		all = append(all, reasonKey.String(v.Reason.String()))
	}
	if v.Rule != "" {
		all = append(all, ruleKey.String(v.Rule))
	}
	if v.Principal != identity.Anonymous {
		all = append(all, principalKey.String(v.Principal.String()))
	}
	span.SetAttributes(all...)
	failed(span, fault, nil)
}

// faultOfServed returns the error.type of a request, "" for none.
//
// "For HTTP status codes in the 4xx range span status MUST be left unset in
// case of SpanKind.SERVER" - semantic conventions for HTTP.
func faultOfServed(v *Served) string {
	switch {
	case v.Panicked:
		return faultPanic
	case v.Status < http.StatusInternalServerError:
		return ""
	case v.Reason != outcome.NoReason:
		return v.Reason.String()
	default:
		return statusText(v.Status)
	}
}

// routeOf returns the http.route of a pattern: its path, without method and
// host.
func routeOf(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i >= 0 {
		return pattern[i:]
	}
	return ""
}

func serverSpanName(method uint8, route string) string {
	if route == "" {
		return spanName(method)
	}
	return spanName(method) + " " + route
}

// route returns the options of measurements of a route.
func (s *Server) route(name string) *optionCache {
	if name == "" {
		return &s.routeless
	}
	for {
		was := s.routes.Load()
		if was != nil {
			if c := (*was)[name]; c != nil {
				return c
			}
			if len(*was) >= maxRoutes {
				return &s.excess
			}
		}
		if c := s.addRoute(was, name); c != nil {
			return c
		}
	}
}

// addRoute returns nil if another was faster.
func (s *Server) addRoute(was *map[string]*optionCache, name string) *optionCache {
	next := map[string]*optionCache{}
	if was != nil {
		next = maps.Clone(*was)
	}
	c := &optionCache{}
	next[name] = c
	if s.routes.CompareAndSwap(was, &next) {
		return c
	}
	return nil
}

func serverAttributes(k optionKey, route string) []attribute.KeyValue {
	all := append(k.attributes(), semconv.URLScheme(schemes[k.scheme]))
	if route != "" {
		all = append(all, semconv.HTTPRoute(route))
	}
	return all
}

// observe gives the requests under way, of what there has ever been.
func (s *Server) observe(to metric.Observer, o metric.Int64Observable) {
	for method := range s.active {
		for scheme := range s.active[method] {
			if l := &s.active[method][scheme]; l.used.Load() {
				to.ObserveInt64(o, l.now.Load(), metric.WithAttributes(
					semconv.HTTPRequestMethodKey.String(methods[method]), semconv.URLScheme(schemes[scheme])))
			}
		}
	}
}
