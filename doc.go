// Package tulle gives a service a mesh of its own over net/http, inside its
// own process: no sidecar, no agent, no second hop.
//
// A [Mesh] is made of a [Config], which is data, and carries calls as an
// http.RoundTripper:
//
//	mesh, err := tulle.New(tulle.Config{Services: ...})
//	client := mesh.Client()
//	resp, err := client.Get("http://reviews/api/7")
//
// The URL stays what it was. "reviews" is a [Service]: a name, the endpoints
// that its resolver finds, and the policies that calls to it are subject to.
// Calls to other hosts pass through untouched. A [Route] sends calls
// elsewhere by what is in them, splits them, or answers in the place of a
// service.
//
// # What a call goes through
//
// A call is matched to a route, sent to one destination of its split, and
// made by the attempt loop of package retry: each attempt picks an endpoint,
// goes out with a request and header of its own, and is judged when its
// response headers come. What the mesh learns late, from the end of the body
// or its trailers, it still counts. What it refuses is an [*Error], never an
// invented response; only a configured redirect or direct response is one,
// and says so in its Proxy-Status field.
//
// An endpoint that fails, breaks its breaker, fails its probes or says that it
// is leaving is left out, within one bound on how many may be at once; a call
// finds out when it works again. See [Policies], and the packages health,
// breaker and balancer.
//
// Middleware fits in at two places: around each call ([WithMiddleware]) and
// around each attempt ([WithAttemptMiddleware]). The order of everything
// between them is fixed.
//
// # What a request goes through
//
// [Mesh.Handler] puts the stages of an [Inbound] around an http.Handler, in a
// fixed order: a cap, limits by address, size, deadline, authentication,
// limits by principal, authorization, the guard against overload. [Mesh.Serve]
// runs a server with it and stops it without losing a request. [WriteError]
// answers with what the mesh refuses, on both ways.
//
// # What changes by itself
//
// Nothing. A policy that is absent is off; one that is present has documented
// defaults. [Recommended] returns what we would run. Everything that can
// refuse or repeat can first be run with Mode Observe, which decides and
// counts but does not act. [Mesh.State] shows what is in force and what was
// seen, and [Mesh.Debug] serves it.
//
// # When not to use it
//
// Where calls do not come from Go, where nobody may change the program, or
// where one fleet-wide proxy layer already does what is needed.
package tulle
