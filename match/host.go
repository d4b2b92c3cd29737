package match

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// maxHost is the greatest length of a host name in DNS, in its written form.
const maxHost = 253

// Host is a parsed element of [Request.Hosts].
type Host struct {
	// Name is in lower case, without a trailing dot, brackets or the "*." of a
	// wildcard.
	Name string
	// Wildcard says that Name stands for all names with one or more labels in
	// front of it.
	Wildcard bool
	// Port is the only port meant, 0 for every port.
	Port uint16
}

// ParseHost parses an element of [Request.Hosts].
func ParseHost(pattern string) (Host, error) {
	var h Host
	if pattern == "" {
		return Host{}, errors.New("empty host")
	}
	if addr, err := netip.ParseAddr(pattern); err == nil {
		h.Name = addr.String()
		return h, nil
	}
	name, port, ok := splitPort(pattern)
	if !ok || strings.HasSuffix(pattern, ":") {
		return Host{}, fmt.Errorf("%q is not a host with an optional port", pattern)
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Host{}, fmt.Errorf("%q: port is not between 1 and 65535", pattern)
		}
		h.Port = uint16(n)
	}
	if literal, ok := strings.CutPrefix(name, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !addr.Is6() {
			return Host{}, fmt.Errorf("%q: brackets hold an IPv6 address", pattern)
		}
		h.Name = addr.String()
		return h, nil
	}
	name = strings.TrimSuffix(name, ".")
	if name == "*" {
		return Host{}, errors.New(`"*" alone: leave hosts empty to match every host`)
	}
	name, h.Wildcard = strings.CutPrefix(name, "*.")
	if err := checkName(name); err != nil {
		return Host{}, fmt.Errorf("%q: %w", pattern, err)
	}
	h.Name = strings.ToLower(name)
	return h, nil
}

// checkName refuses what can be no DNS name. Underscores are let through: they
// are in use.
func checkName(name string) error {
	if len(name) > maxHost {
		return fmt.Errorf("longer than %d bytes", maxHost)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("a label has between 1 and 63 bytes")
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			case c == '*':
				return errors.New(`"*" stands for whole leading labels only, as in "*.example.com"`)
			case c >= 0x80:
				return errors.New("write an international name in its xn-- form")
			default:
				return fmt.Errorf("%q is not allowed in a host name", c)
			}
		}
	}
	return nil
}

// matches judges a canonical name and port.
func (h Host) matches(name string, port uint16) bool {
	if h.Port != 0 && h.Port != port {
		return false
	}
	if !h.Wildcard {
		return name == h.Name
	}
	lead, ok := strings.CutSuffix(name, h.Name)
	return ok && len(lead) > 1 && lead[len(lead)-1] == '.'
}

// CanonicalHost returns the host that r is for and its port: those of URL.Host,
// or of Host if the URL names none, as on inbound requests. The name is in lower
// case, without a trailing dot or brackets, an IPv6 address in the form of RFC
// 5952. A missing port is the default one of the URL's scheme; an inbound request
// is https if it came over TLS, else http. The port is 0 for other schemes. A
// host that can be no host is "", which no [Host] matches.
//
// It does not allocate if the name is canonical already.
func CanonicalHost(r *http.Request) (name string, port uint16) {
	host := r.URL.Host
	if host == "" {
		host = r.Host
	}
	name, digits, ok := splitPort(host)
	if !ok || len(name) > maxHost+len(".") {
		return "", 0
	}
	if digits == "" {
		port = defaultPort(r)
	} else {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil {
			return "", 0
		}
		port = uint16(n)
	}
	if strings.HasPrefix(name, "[") {
		return canonicalLiteral(name[1 : len(name)-1]), port
	}
	return canonicalName(strings.TrimSuffix(name, ".")), port
}

func defaultPort(r *http.Request) uint16 {
	switch {
	case r.URL.Scheme == "https", r.URL.Scheme == "" && r.TLS != nil:
		return 443
	case r.URL.Scheme == "http", r.URL.Scheme == "":
		return 80
	}
	return 0
}

// canonicalName returns name in lower case; only ASCII has cases in host names.
func canonicalName(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			lower := []byte(name)
			for ; i < len(lower); i++ {
				if c := lower[i]; 'A' <= c && c <= 'Z' {
					lower[i] = c | 0x20
				}
			}
			return string(lower)
		}
	}
	return name
}

// canonicalLiteral returns the canonical form of an IPv6 address, "" if it is
// none.
func canonicalLiteral(literal string) string {
	addr, err := netip.ParseAddr(literal)
	if err != nil || !addr.Is6() {
		return ""
	}
	var buf [64]byte
	if text := addr.AppendTo(buf[:0]); string(text) != literal {
		return string(text)
	}
	return literal
}

// splitPort splits "host", "host:port", "[v6]" or "[v6]:port". An empty port
// counts as none. Brackets stay.
func splitPort(host string) (name, port string, ok bool) {
	if strings.HasPrefix(host, "[") {
		i := strings.IndexByte(host, ']')
		if i < 0 {
			return "", "", false
		}
		name, port = host[:i+1], host[i+1:]
		if port == "" {
			return name, "", true
		}
		return name, port[1:], port[0] == ':'
	}
	name, port, found := strings.Cut(host, ":")
	return name, port, !found || strings.IndexByte(port, ':') < 0
}
