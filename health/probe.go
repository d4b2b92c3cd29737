package health

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// Defaults and limits of a Probe.
const (
	defaultInterval           = 10 * time.Second
	minInterval               = 10 * time.Millisecond
	defaultTimeout            = time.Second
	defaultUnhealthyThreshold = 3
	defaultHealthyThreshold   = 2
)

// Probe says how endpoints are asked whether they are well, apart from the
// calls that they get anyway. It is data; zero fields are the defaults named
// here. Because of Statuses it is not comparable with ==.
//
// With a Path a probe is an HTTP request that is answered with one of
// Statuses; without one it is a TCP connection (or one to a unix socket) that
// is opened and closed again.
type Probe struct {
	// Mode Observe probes and shows what it finds, and holds no endpoint back.
	// It is for those who act on verdicts; a Prober does not look at it.
	Mode outcome.Mode `json:"mode,omitzero"`
	// Path is the path of an HTTP probe, such as "/healthz", with a query if
	// need be. Empty means that a connection is proof enough; the other
	// fields of HTTP probes are then to be empty too.
	Path string `json:"path,omitzero"`
	// Method is the method of an HTTP probe; empty is GET.
	Method string `json:"method,omitzero"`
	// Host is the Host header of an HTTP probe; empty is the name of the
	// service. Certificates are for the name of the service in either case.
	Host string `json:"host,omitzero"`
	// Statuses are the status codes of a healthy endpoint; nil is 200 to 299.
	// It is not 200 alone, because "204 No Content" is as usual an answer of
	// those who have nothing else to say; redirects are not followed and not
	// expected, as they tell of another place.
	Statuses []StatusRange `json:"statuses,omitzero"`
	// Port is the port to probe if it is another than that of calls; 0 is the
	// endpoint's own. It says nothing of an endpoint on a unix socket.
	Port uint16 `json:"port,omitzero"`
	// Interval is the time from one probe of an endpoint to the next, from
	// 10 ms; 0 is 10 s. Each is 10 % longer or shorter by chance.
	Interval time.Duration `json:"interval,omitzero"`
	// Timeout is what a probe is given for everything: connection, headers
	// and body. 0 is 1 s, or Interval if that is shorter. It must not exceed
	// Interval.
	Timeout time.Duration `json:"timeout,omitzero"`
	// UnhealthyThreshold is how many probes in a row have to fail before a
	// healthy endpoint is unhealthy, whatever they fail with; 0 is 3.
	UnhealthyThreshold int `json:"unhealthyThreshold,omitzero"`
	// HealthyThreshold is how many probes in a row have to succeed before an
	// unhealthy endpoint is healthy; 0 is 2. The first probe of an endpoint
	// decides alone, either way.
	HealthyThreshold int `json:"healthyThreshold,omitzero"`
}

// StatusRange is a range of status codes, both ends included.
type StatusRange struct {
	// From is the first status code, from 200 to 599.
	From int `json:"from"`
	// To is the last one; 0 is From.
	To int `json:"to,omitzero"`
}

// Validate reports every fault of the probe, each with its path.
func (p Probe) Validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf(path+": "+format, args...))
	}
	if p.Mode > outcome.Observe {
		fault("mode", "%d is neither Enforce nor Observe", p.Mode)
	}
	if p.Path == "" && (p.Method != "" || p.Host != "" || len(p.Statuses) > 0) {
		fault("path", "is empty, and method, host and statuses are for HTTP probes, which have one")
	}
	if p.Path != "" {
		// What net/http would send as it is, a space in a query for one, must
		// not break the request line.
		odd := strings.ContainsFunc(p.Path, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' })
		if _, err := url.Parse("http://name" + p.Path); err != nil || odd || p.Path[0] != '/' {
			fault("path", "%q is not a path with a leading slash, percent-encoded", p.Path)
		}
	}
	if p.Method == http.MethodConnect || !isToken(p.Method) {
		fault("method", "%q cannot be that of a probe", p.Method)
	}
	if p.Host != "" && !isHost(p.Host) {
		fault("host", "%q is not a host", p.Host)
	}
	for i, s := range p.Statuses {
		path := fmt.Sprintf("statuses[%d]", i)
		if s.From < 200 || s.From > 599 {
			fault(path+".from", "%d is not between 200 and 599", s.From)
		}
		if s.To != 0 && (s.To < s.From || s.To > 599) {
			fault(path+".to", "%d is not between %d and 599", s.To, s.From)
		}
	}
	switch e := p.Effective(); {
	case p.Interval < 0 || e.Interval < minInterval:
		fault("interval", "%v is less than %v", p.Interval, minInterval)
	case e.Timeout > e.Interval:
		fault("timeout", "%v exceeds the interval of %v", e.Timeout, e.Interval)
	}
	if p.Timeout < 0 {
		fault("timeout", "%v is negative", p.Timeout)
	}
	if p.UnhealthyThreshold < 0 {
		fault("unhealthyThreshold", "%d is negative", p.UnhealthyThreshold)
	}
	if p.HealthyThreshold < 0 {
		fault("healthyThreshold", "%d is negative", p.HealthyThreshold)
	}
	return errors.Join(faults...)
}

// isHost reports whether s can be the host of a URL.
func isHost(s string) bool {
	u, err := url.Parse("http://" + s)
	return err == nil && s != "" && u.Host == s
}

// isToken reports whether s is empty or a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
}

// Effective returns the probe with its defaults filled in. It shares nothing
// with p.
func (p Probe) Effective() Probe {
	if p.Path != "" {
		if p.Method == "" {
			p.Method = http.MethodGet
		}
		if p.Statuses == nil {
			p.Statuses = []StatusRange{{From: 200, To: 299}}
		}
	}
	p.Statuses = slices.Clone(p.Statuses)
	for i, s := range p.Statuses {
		if s.To == 0 {
			p.Statuses[i].To = s.From
		}
	}
	if p.Interval == 0 {
		p.Interval = defaultInterval
	}
	if p.Timeout == 0 {
		p.Timeout = min(defaultTimeout, p.Interval)
	}
	if p.UnhealthyThreshold == 0 {
		p.UnhealthyThreshold = defaultUnhealthyThreshold
	}
	if p.HealthyThreshold == 0 {
		p.HealthyThreshold = defaultHealthyThreshold
	}
	return p
}

// Addr returns the network and the address at which an endpoint is probed:
// its own, but for the port if the probe has another. A unix socket has no
// port to change.
func (p Probe) Addr(info endpoint.Info) (network, addr string) {
	network, addr = info.Network()
	if p.Port == 0 || network == "unix" {
		return network, addr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	return network, net.JoinHostPort(host, strconv.Itoa(int(p.Port)))
}

// expects reports whether an effective probe succeeds with a status code.
func (p *Probe) expects(status int) bool {
	return slices.ContainsFunc(p.Statuses, func(s StatusRange) bool { return s.From <= status && status <= s.To })
}
