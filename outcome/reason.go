package outcome

import (
	"fmt"
	"net/http"
)

// Reason says why the mesh itself answered a call, refused it or gave it up.
type Reason uint8

const (
	// NoReason is the zero value: the mesh did not interfere.
	NoReason Reason = iota
	// UnknownHost: no service has this host and unknown hosts are refused.
	UnknownHost
	// NoRoute: a route leads to nothing.
	NoRoute
	// NoEndpoint: there was no endpoint to pick in the time allowed.
	NoEndpoint
	// ConnectFailed: no connection to the endpoint could be had.
	ConnectFailed
	// ConnectTimeout: no connection to the endpoint in the time allowed.
	ConnectTimeout
	// ConnectionLost: the connection ended before the response headers.
	ConnectionLost
	// AttemptTimeout: the attempt had no response headers in the time a
	// single attempt is given.
	AttemptTimeout
	// CallTimeout: the call did not end in the time the mesh gives it.
	CallTimeout
	// CallerDeadline: the deadline that the caller brought along passed.
	CallerDeadline
	// Cancelled: the caller went away.
	Cancelled
	// BreakerOpen: the circuit breaker of the service is open.
	BreakerOpen
	// LimitReached: too many calls are in flight or waiting.
	LimitReached
	// RateLimited: more calls than the caller is allowed.
	RateLimited
	// Overloaded: the server sheds load.
	Overloaded
	// SentBack: the server is busier than the caller expected, and has not
	// worked on the request.
	SentBack
	// FaultInjected: a configured fault.
	FaultInjected
	// Redirected: a configured redirect.
	Redirected
	// DirectResponse: a configured response.
	DirectResponse
	// BadRequest: the request is malformed.
	BadRequest
	// TooLarge: the request is larger than allowed.
	TooLarge
	// Unauthenticated: the caller did not prove who it is.
	Unauthenticated
	// Forbidden: the caller may not do this.
	Forbidden
	// ShuttingDown: the mesh has been shut down.
	ShuttingDown
	// Undecided: what has to decide on the call cannot be reached, such as
	// the keys of an issuer.
	Undecided
	// Internal: a fault of the mesh or of code plugged into it.
	Internal
	numReasons
)

// reasonRow is what there is to say about a Reason.
type reasonRow struct {
	// name is for metrics and logs.
	name string
	// status is that of a local reply.
	status int
	// proxy is the error type of RFC 9209 (Proxy-Status), section 2.3.
	proxy string
	text  string
}

var reasons = [numReasons]reasonRow{
	NoReason:       {"none", http.StatusOK, "", "the mesh did not interfere"},
	UnknownHost:    {"unknown_host", http.StatusBadGateway, "destination_not_found", "no service has this host"},
	NoRoute:        {"no_route", http.StatusNotFound, "destination_not_found", "no route leads to a service"},
	NoEndpoint:     {"no_endpoint", http.StatusServiceUnavailable, "destination_unavailable", "no endpoint is available"},
	ConnectFailed:  {"connect_failed", http.StatusBadGateway, "connection_refused", "no connection to the endpoint"},
	ConnectTimeout: {"connect_timeout", http.StatusGatewayTimeout, "connection_timeout", "no connection to the endpoint in time"},
	ConnectionLost: {"connection_lost", http.StatusBadGateway, "connection_terminated", "the connection ended before a response"},
	AttemptTimeout: {"attempt_timeout", http.StatusGatewayTimeout, "http_response_timeout", "the attempt had no response in time"},
	CallTimeout:    {"call_timeout", http.StatusGatewayTimeout, "http_response_timeout", "the call took longer than it may"},
	CallerDeadline: {"caller_deadline", http.StatusGatewayTimeout, "http_response_timeout", "the caller's deadline passed"},
	Cancelled:      {"cancelled", 499, "http_request_error", "the caller went away"},
	BreakerOpen:    {"breaker_open", http.StatusServiceUnavailable, "destination_unavailable", "the circuit breaker is open"},
	LimitReached:   {"limit_reached", http.StatusServiceUnavailable, "connection_limit_reached", "too many calls at once"},
	RateLimited:    {"rate_limited", http.StatusTooManyRequests, "http_request_denied", "too many requests"},
	Overloaded:     {"overloaded", http.StatusServiceUnavailable, "destination_unavailable", "the server is overloaded"},
	// "A client that receives a 421 (Misdirected Request) response MAY retry the
	// request, whether or not the request method is idempotent" - RFC 9110, 15.5.20
	SentBack:        {"sent_back", http.StatusMisdirectedRequest, "http_request_denied", "the server is busier than the caller expected"},
	FaultInjected:   {"fault_injected", http.StatusServiceUnavailable, "proxy_internal_response", "an injected fault"},
	Redirected:      {"redirected", http.StatusFound, "proxy_internal_response", "a configured redirect"},
	DirectResponse:  {"direct_response", http.StatusOK, "proxy_internal_response", "a configured response"},
	BadRequest:      {"bad_request", http.StatusBadRequest, "http_request_error", "the request is malformed"},
	TooLarge:        {"too_large", http.StatusRequestEntityTooLarge, "http_request_error", "the request is too large"},
	Unauthenticated: {"unauthenticated", http.StatusUnauthorized, "http_request_denied", "the caller is not authenticated"},
	Forbidden:       {"forbidden", http.StatusForbidden, "http_request_denied", "the caller may not do this"},
	ShuttingDown:    {"shutting_down", http.StatusServiceUnavailable, "destination_unavailable", "the mesh has been shut down"},
	Undecided:       {"undecided", http.StatusServiceUnavailable, "proxy_internal_error", "it cannot be decided now whether the caller may do this"},
	Internal:        {"internal", http.StatusInternalServerError, "proxy_internal_error", "an internal error"},
}

// String returns the reason as a lower-case word fit for a metric label.
func (r Reason) String() string { return r.row().name }

// MarshalText makes a Reason readable in snapshots and as a map key.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (r *Reason) UnmarshalText(text []byte) error {
	for i, row := range reasons {
		if row.name == string(text) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("outcome: reason %q is unknown", text)
}

// Status returns the status code of a local reply for this reason, where
// nothing else is configured.
func (r Reason) Status() int { return r.row().status }

// ProxyStatus returns the error type of RFC 9209 for this reason, "" for
// NoReason.
func (r Reason) ProxyStatus() string { return r.row().proxy }

// Text returns a short description without details of the call.
func (r Reason) Text() string { return r.row().text }

// Reasons returns all reasons but NoReason, in order.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons-1)
	for r := NoReason + 1; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}

// row takes a Reason that does not exist for a fault of the mesh.
func (r Reason) row() reasonRow {
	if r >= numReasons {
		r = Internal
	}
	return reasons[r]
}
