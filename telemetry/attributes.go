package telemetry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tulle-mesh/tulle/outcome"
)

// Names of the mesh's own attributes.
const (
	serviceKey  = attribute.Key("tulle.service")
	subsetKey   = attribute.Key("tulle.subset")
	routeKey    = attribute.Key("tulle.route")
	reasonKey   = attribute.Key("tulle.reason")
	attemptsKey = attribute.Key("tulle.attempts")
	mirroredKey = attribute.Key("tulle.mirrored")

	ruleKey      = attribute.Key("tulle.rule")
	principalKey = attribute.Key("tulle.principal")
)

// methods are those that the conventions know, the first standing for all
// others. A number of this list stands for a method.
var methods = [...]string{
	"_OTHER", http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, http.MethodConnect, http.MethodTrace, "QUERY",
}

func methodOf(name string) uint8 {
	if name == "" {
		return 1
	}
	for i, m := range methods {
		if m == name {
			return uint8(i)
		}
	}
	return 0
}

// spanName returns what a span of the method is called.
//
// "HTTP span names SHOULD be {method} {target} if there is a (low-cardinality)
// target available"; "If the method is _OTHER, {method} MUST be HTTP" -
// semantic conventions for HTTP.
func spanName(method uint8) string {
	if method == 0 {
		return "HTTP"
	}
	return methods[method]
}

// Values of error.type beside status codes, classes and reasons.
const (
	faultCancelled = "cancelled"
	faultTimeout   = "timeout"
	faultOther     = "_OTHER"
	faultPanic     = "panic"
)

// faultOf returns the error.type of an attempt, "" for none. Its values are
// few: classes, status codes, and what stands above.
func faultOf(status int, class outcome.Class, err error) string {
	switch {
	case status >= http.StatusBadRequest:
		return statusText(status)
	case class.Failed():
		return class.String()
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return faultCancelled
	case errors.Is(err, context.DeadlineExceeded):
		return faultTimeout
	default:
		return faultOther
	}
}

// faultOfCall returns the error.type of a call, "" for none.
func faultOfCall(c *Call) string {
	switch {
	case c.Reason != outcome.NoReason && (c.Err != nil || c.Status == 0):
		return c.Reason.String()
	default:
		return faultOf(c.Status, c.Class, c.Err)
	}
}

// statusText spares the usual codes an allocation.
func statusText(code int) string {
	switch code {
	case http.StatusNotFound:
		return "404"
	case http.StatusInternalServerError:
		return "500"
	case http.StatusServiceUnavailable:
		return "503"
	}
	return strconv.Itoa(code)
}

// splitAddr returns host and port of an address, or the path of a socket.
func splitAddr(addr string) (host string, port int) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		return addr, 0
	}
	return host, port
}

// portOf returns the port that a request is sent to by its URL, 0 if that
// says none.
func portOf(scheme, port string) int {
	switch {
	case port != "":
		n, _ := strconv.Atoi(port) // what is no number says none
		return n
	case scheme == "https":
		return 443
	default:
		return 80
	}
}
