package routing

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/match"
)

// Redirect answers a request by sending the client elsewhere. What is not set
// stays as the request has it, the query always. At most one of Path and Prefix
// may be set, and something besides Status must be.
//
// The target is made of configuration and of the request's canonical path, which
// cannot name another host. The host is the request's own if Scheme or Port is
// set and Host is not: give the rule its hosts, lest a forged Host header be
// reflected.
type Redirect struct {
	// Scheme is "http" or "https".
	Scheme string `json:"scheme,omitzero"`
	// Host is a name or address without a port.
	Host string `json:"host,omitzero"`
	// Port is the port, from 1 to 65535. 0 means the default port of Scheme if
	// that is set, else the port of the request.
	Port int `json:"port,omitzero"`
	// Path replaces the whole path.
	Path string `json:"path,omitzero"`
	// Prefix replaces the part of the path that was matched, as [Rewrite.Prefix].
	Prefix string `json:"prefix,omitzero"`
	// Status is 301, 302, 303, 307 or 308; 0 means 302.
	Status int `json:"status,omitzero"`
}

// Validate reports every fault of d, each with its path.
func (d Redirect) Validate() error {
	var faults faults
	if where := (Redirect{Status: d.Status}); d == where {
		faults.add("scheme, host, port, path, prefix", "at least one must be set, or it leads to itself")
	}
	switch d.Scheme {
	case "", "http", "https":
	default:
		faults.add("scheme", "%q is neither http nor https", d.Scheme)
	}
	if d.Host != "" {
		faults.host(d.Host)
		if h, err := match.ParseHost(d.Host); err == nil && h.Port != 0 {
			faults.add("host", "%q: the port stands apart", d.Host)
		}
	}
	if d.Port < 0 || d.Port > 65535 {
		faults.add("port", "%d is not between 1 and 65535", d.Port)
	}
	faults.newPath(d.Path, d.Prefix)
	switch d.Status {
	case 0, 301, 302, 303, 307, 308:
	default:
		faults.add("status", "%d is not 301, 302, 303, 307 or 308", d.Status)
	}
	return faults.err()
}

// Location returns where r is sent; prefix is that of the [Hit]. It is a path
// and query, on the host the client is talking to, unless Scheme, Host or Port
// is set.
func (d Redirect) Location(r *http.Request, prefix string) string {
	path := newPath(r.URL, d.Path, d.Prefix, prefix)
	if path[0] != '/' {
		path = "/" // of "*"
	}
	if r.URL.RawQuery != "" {
		path += "?" + escapeQuery(r.URL.RawQuery)
	}
	if d.Scheme == "" && d.Host == "" && d.Port == 0 {
		return path
	}
	host, requestPort := match.CanonicalHost(r)
	if d.Host != "" {
		host = strings.Trim(d.Host, "[]")
	} else if h, err := match.ParseHost(host); err != nil || h.Wildcard {
		return path // what cannot be a host must not be reflected
	}
	scheme, port := d.Scheme, d.Port
	if scheme == "" {
		scheme = r.URL.Scheme
		if scheme == "" {
			scheme = "http"
			if r.TLS != nil {
				scheme = "https"
			}
		}
		if port == 0 {
			port = int(requestPort)
		}
	}
	if port == 0 || port == 80 && scheme == "http" || port == 443 && scheme == "https" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host + path
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + path
}

// Response returns the answer to req as a client receives it; prefix is that of
// the [Hit]. It does not touch req, whose body is the caller's to close.
func (d Redirect) Response(req *http.Request, prefix string) *http.Response {
	return d.direct(req, prefix).Response(req)
}

// Serve writes the answer to r; prefix is that of the [Hit].
func (d Redirect) Serve(w http.ResponseWriter, r *http.Request, prefix string) {
	d.direct(r, prefix).ServeHTTP(w, r)
}

func (d Redirect) direct(r *http.Request, prefix string) Direct {
	status := d.Status
	if status == 0 {
		status = http.StatusFound
	}
	return Direct{Status: status, Header: []Field{{"Location", d.Location(r, prefix)}}}
}

// escapeQuery escapes what may stand in no URL, so that a client's careless query
// cannot end a header field.
func escapeQuery(rawQuery string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(rawQuery) {
		if c := rawQuery[i]; c > ' ' && c < 0x7f && strings.IndexByte("\"#<>\\", c) < 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
