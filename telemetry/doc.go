// Package telemetry tells of calls to those who watch: OpenTelemetry spans and
// metrics, trace context for the next service, and an access log; of those that
// a process makes, and of those that it serves.
//
// A [Recorder] is made of providers and does nothing for those it was not
// given; nothing here looks at OpenTelemetry's global ones. A [Scope] is where
// calls go, with its attributes made once: what is recorded for a call builds
// no attributes. The root package makes a Scope for each way a call can go.
// Alone, [Scope.Middleware] wraps an http.RoundTripper; it is for clients
// without a mesh. A [Server] is where requests come in; alone,
// [Server.Middleware] wraps an http.Handler.
//
// # Spans
//
// A call through a mesh is a span of kind INTERNAL, "GET reviews", to the end
// of the response's body. Each of its attempts is a span of kind CLIENT below
// it, as the semantic conventions for HTTP have it: "GET", with the attributes
// they require, http.request.resend_count from the second one on, and the
// endpoint as network.peer.address. One whose request a server has sent back
// unworked has the event tulle.sent_back and is no error. Where the call's span is not recorded,
// attempts have none: the trace context sent on is then that of the call.
// What looks like a secret in a URL is written as REDACTED.
//
// A request served is a span of kind SERVER to the end of the response. Its
// name and its http.route are those of the pattern in the program's ServeMux
// that it fits, "GET /reviews/{id}"; without one it is "GET". A handler in
// between that copies the request hides the pattern. What a wildcard stands
// for whose name sounds like a secret is not shown. Whose trace goes on is a
// matter of trust: of a stranger's there is a link, and a new trace begins,
// for else anyone could decide what is sampled. The client is the peer of the
// connection, and nothing is recorded of who the user is and with what.
//
// # Metrics
//
// Three histograms are recorded as calls go, in the context of their spans, so
// that exemplars lead to traces:
//
//	http.client.request.duration  s  of each attempt, to its response headers: http.request.method,
//	                                 http.response.status_code, error.type, server.address, server.port,
//	                                 tulle.service, tulle.subset
//	tulle.call.duration           s  of each call, to the end of the body: http.request.method,
//	                                 http.response.status_code, error.type, tulle.reason, tulle.service,
//	                                 tulle.subset, tulle.route
//	http.server.request.duration  s  of each request served, to the end of the response:
//	                                 http.request.method, http.response.status_code, error.type, http.route,
//	                                 url.scheme
//
// Of what is served one more follows the conventions:
//
//	http.server.active_requests  updowncounter  {request}  http.request.method, url.scheme
//
// All others are read from the mesh's own counters when a reader asks for
// them, and cost a call nothing:
//
//	name                      kind           unit         attributes
//	tulle.call.active         updowncounter  {call}       tulle.service
//	tulle.call.local          counter        {call}       tulle.service, tulle.route, tulle.reason
//	tulle.call.unknown_host   counter        {call}       tulle.result
//	tulle.split.calls         counter        {call}       tulle.route, tulle.service, tulle.subset
//	tulle.attempt.sent        counter        {attempt}    tulle.service
//	tulle.attempt.sent_back   counter        {attempt}    tulle.service
//	tulle.attempt.active      updowncounter  {attempt}    tulle.service
//	tulle.retry.made          counter        {retry}      tulle.service, tulle.class
//	tulle.retry.denied        counter        {retry}      tulle.service, tulle.verdict
//	tulle.retry.budget        gauge          {retry}      tulle.service, tulle.budget
//	tulle.balancer.picks      counter        {pick}       tulle.service, tulle.subset, tulle.reason
//	tulle.endpoint.known      updowncounter  {endpoint}   tulle.service, tulle.state
//	tulle.endpoint.ejections  counter        {ejection}   tulle.service, tulle.state
//	tulle.breaker.state       gauge          {state}      tulle.service, tulle.mode
//	tulle.breaker.incidents   counter        {incident}   tulle.service, tulle.mode
//	tulle.limit.active        updowncounter  {attempt}    tulle.service, tulle.mode
//	tulle.limit.waiting       updowncounter  {attempt}    tulle.service, tulle.mode
//	tulle.discovery.failing   gauge          s            tulle.service
//	tulle.fault.injected      counter        {fault}      tulle.service, tulle.fault
//	tulle.mirror.copies       counter        {copy}       tulle.route, tulle.service, tulle.subset, tulle.result
//
//	tulle.inbound.refused          counter        {request}  tulle.reason
//	tulle.inbound.would_refuse     counter        {request}  tulle.policy
//	tulle.inbound.rate_limited     counter        {request}  tulle.rule, tulle.policy
//	tulle.inbound.unauthenticated  counter        {request}  tulle.rule, tulle.fault
//	tulle.inbound.stripped         counter        {request}
//	tulle.inbound.bad_hints        counter        {request}
//	tulle.inbound.leaving          gauge          {state}
//	tulle.keyset.age               gauge          s          tulle.keyset
//	tulle.keyset.usable            gauge          {state}    tulle.keyset
//	tulle.overload.limit           gauge          {request}  tulle.mode
//	tulle.overload.active          updowncounter  {request}  tulle.mode
//	tulle.overload.waiting         updowncounter  {request}  tulle.mode
//	tulle.overload.sent_back       counter        {request}  tulle.mode
//
// Names in attributes come from the configuration and from patterns of the
// program, statuses and error types are bounded: nothing that a request or a server makes up becomes a series.
// Which endpoint it was is in spans, in State, and in no metric.
//
// # Exporting
//
// This package needs OpenTelemetry's API alone. The SDK and its exporters are
// the program's to choose; where none is wanted, State of the root package has
// the same counts.
package telemetry
