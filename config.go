package tulle

import (
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/mirror"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/routing"
)

// Config is everything that a mesh is told: data, which New and Apply copy
// before they use it. The zero Config changes nothing: every call passes
// through as if the mesh were not there, and is counted.
type Config struct {
	// Services are the destinations that the mesh knows.
	Services []Service
	// Routes decide where calls go, ahead of the names of services. See
	// package routing for which route wins.
	Routes []Route
	// Policies apply to all services that do not say otherwise.
	Policies Policies
	// RefuseUnknownHosts, when present, refuses calls to hosts that neither
	// a service nor a route knows. Absent, they pass through untouched.
	RefuseUnknownHosts *RefuseUnknownHosts
	// Inbound applies to requests that come to the process, see
	// Mesh.Handler.
	Inbound Inbound
	// Region and Zone say where this process runs, in the words that
	// discovery uses for endpoints. They matter to Service.Spread only.
	Region, Zone string
}

// Service is a named destination and the endpoints behind it.
type Service struct {
	// Name identifies the service in routes, errors, State and metrics.
	Name string
	// Hosts are the names that callers already use in their URLs: "reviews"
	// is that host on any port, "reviews:9080" on this port only, and
	// "*.reviews.test" every host below. Empty means the Name.
	Hosts []string
	// Resolver finds the endpoints.
	Resolver discovery.Resolver
	// Balancer chooses among the endpoints. Nil is balancer.LoadFed{}, which
	// needs reports of the endpoints to be at its best and none to be good.
	Balancer balancer.Policy
	// Spread divides calls over the priorities and zones that discovery
	// gives to endpoints, before the Balancer chooses.
	Spread balancer.Spread
	// Key, when present, is what calls are told apart by for policies that
	// hash, where the route has no Sticky.
	Key *match.Key
	// Subsets name parts of the endpoints that routes may send calls to.
	Subsets []Subset
	// Protocol is the version of HTTP spoken to the endpoints.
	Protocol Protocol
	// TLS, when present, makes the mesh speak TLS to the endpoints also
	// where callers use plain http URLs. With https URLs it is spoken in any
	// case, and TLS may be nil.
	TLS *TLS
	// Connection bounds the connections to the endpoints.
	Connection Connection
	// External marks a service outside one's own organisation: nothing that
	// the mesh knows is added to what is sent to it.
	External bool
	// KeepLoadReports leaves the load reports of the endpoints in the responses,
	// in header and trailers. Otherwise they are for the mesh only, which takes
	// them out: what passes a response on, such as a gateway, must not tell how
	// busy the server behind it is as if that were itself. The reports of an
	// External service are neither read nor taken out.
	KeepLoadReports bool
	// TraceContext sends the trace context, and the baggage with it, also to
	// an External service. Others get it in any case, see WithPropagator.
	TraceContext bool
	// Classifier judges what the endpoints answer. Nil is outcome.HTTP{}.
	Classifier outcome.Classifier
	// MaxWait is how long a call waits for an endpoint while there is none
	// to pick. Zero means as long as the call has time, negative not at all.
	MaxWait time.Duration
	// Policies apply to calls to this service. What it leaves unset is taken
	// from Config.Policies.
	Policies Policies
}

// Subset is a part of a service's endpoints.
type Subset struct {
	// Name identifies the subset within its service.
	Name string `json:"name,omitzero"`
	// Labels are those that an endpoint must have, all of them, to belong.
	Labels map[string]string `json:"labels,omitzero"`
}

// Protocol is the version of HTTP spoken to endpoints.
type Protocol uint8

const (
	// Auto speaks HTTP/1.1 on plain connections and lets TLS negotiate
	// HTTP/2 or HTTP/1.1.
	Auto Protocol = iota
	// HTTP1 speaks HTTP/1.1 only.
	HTTP1
	// HTTP2 speaks HTTP/2 over TLS only.
	HTTP2
	// H2C speaks HTTP/2 on plain connections, with prior knowledge.
	H2C
)

// String returns "auto", "http1", "http2" or "h2c".
func (p Protocol) String() string {
	switch p {
	case Auto:
		return "auto"
	case HTTP1:
		return "http1"
	case HTTP2:
		return "http2"
	case H2C:
		return "h2c"
	default:
		return "unknown"
	}
}

// MarshalText makes a Protocol readable in State.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (p *Protocol) UnmarshalText(text []byte) error {
	for v := range H2C + 1 {
		if v.String() == string(text) {
			*p = v
			return nil
		}
	}
	return fmt.Errorf("tulle: protocol %q is unknown", text)
}

// Connection bounds the connections to each endpoint of a service.
type Connection struct {
	// ConnectTimeout bounds the making of a connection, without TLS. Zero
	// means 1 s.
	ConnectTimeout time.Duration `json:"connectTimeout,omitzero"`
	// TLSTimeout bounds the TLS handshake. Zero means 5 s.
	TLSTimeout time.Duration `json:"tlsTimeout,omitzero"`
	// MaxIdle is how many idle connections to an endpoint are kept for each
	// host name that calls have, and four times that for all of them. Zero
	// means 64; it does not bind HTTP/2, which needs one.
	MaxIdle int `json:"maxIdle,omitzero"`
	// IdleTimeout is how long an idle connection is kept. Zero means 90 s.
	IdleTimeout time.Duration `json:"idleTimeout,omitzero"`
}

// RefuseUnknownHosts is the policy that calls may go to known hosts only.
type RefuseUnknownHosts struct {
	// Mode is whether calls are refused or only counted.
	Mode outcome.Mode `json:"mode,omitzero"`
}

// Route says where the calls go that match it, and what is done to them.
type Route struct {
	// Name identifies the route in errors, State and metrics.
	Name string `json:"name,omitzero"`
	// Match lists requests that the route is for, any of them. Empty means
	// every request.
	Match []match.Request `json:"match,omitzero"`
	// Split lists where calls go, in proportion to the weights. Empty means
	// the service that has the request's host.
	Split []Destination `json:"split,omitzero"`
	// Sticky, when present, binds calls with the same key to the same part
	// of the split, and to the same endpoint where the policy hashes.
	Sticky *match.Key `json:"sticky,omitzero"`
	// Filters change requests and responses, or answer in the place of a
	// service.
	Filters routing.Filters `json:"filters,omitzero"`
	// Mirrors get copies of the calls, changed by the Filters as the calls
	// are.
	Mirrors []Mirror `json:"mirrors,omitzero"`
	// Policies apply to the calls of this route. What it leaves unset is
	// taken from the service.
	Policies Policies `json:"policies,omitzero"`
}

// Mirror is where copies of calls go. What becomes of them is held against
// nobody: not against the endpoints, and not against the call.
type Mirror struct {
	// Service names one of Config.Services.
	Service string `json:"service,omitzero"`
	// Subset names one of its subsets; empty is the whole service.
	Subset string `json:"subset,omitzero"`
	// Policy says how much is copied.
	Policy mirror.Policy `json:"policy,omitzero"`
}

// Destination is one part of a split.
type Destination struct {
	// Service names one of Config.Services.
	Service string `json:"service,omitzero"`
	// Subset names one of its subsets; empty is the whole service.
	Subset string `json:"subset,omitzero"`
	// Weight is the share of the calls. Where all weights of a split are
	// zero they are equal, elsewhere zero gets none.
	Weight uint32 `json:"weight,omitzero"`
}
