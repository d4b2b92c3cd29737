package match

import (
	"errors"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/token"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// Key is where the hash of a request comes from, so that requests of one user,
// tenant or object are treated alike. Exactly one field must be set.
type Key struct {
	// Header is the name of a header field. Several fields of that name count as
	// one, joined with ",".
	Header string `json:"header,omitzero"`
	// Cookie is the name of a cookie; the first of that name counts.
	Cookie string `json:"cookie,omitzero"`
	// Query is the name of a query parameter; the first of that name counts, and
	// escapes make no difference.
	Query string `json:"query,omitzero"`
	// Principal takes the name of the verified principal in the request's context.
	Principal bool `json:"principal,omitzero"`
	// Source takes the address in RemoteAddr: the whole IPv4 address, or the
	// first 64 bits of an IPv6 address, of which one user has as many as he
	// likes. Requests that a client makes have none.
	Source bool `json:"source,omitzero"`
}

// Validate reports every fault of k.
func (k Key) Validate() error {
	var c compiler
	n := 0
	if k.Header != "" {
		n++
		c.headerName("header", k.Header)
	}
	if k.Cookie != "" {
		n++
		if !token.Is(k.Cookie) {
			c.faults.add("cookie", "%q is not the name of a cookie", k.Cookie)
		}
	}
	if k.Query != "" {
		n++
	}
	if k.Principal {
		n++
	}
	if k.Source {
		n++
	}
	if n != 1 {
		c.faults = append(c.faults, errors.New("exactly one of header, cookie, query, principal and source must be set"))
	}
	return c.err()
}

// Hash returns the hash of what k says of r, and whether r has it: what is
// absent or empty has none. The hash is XXH64 with seed 0, the same in every
// process and version. It is not secret: who chooses the value can choose the
// hash. Hash does not allocate.
func (k Key) Hash(r *http.Request) (uint64, bool) {
	switch {
	case k.Header != "":
		return hashFields(fields(r.Header, k.Header))
	case k.Cookie != "":
		value := findCookie(r.Header["Cookie"], k.Cookie)
		return xxh64.Sum(value, 0), value != ""
	case k.Query != "":
		return hashParameter(r.URL.RawQuery, k.Query)
	case k.Principal:
		// The name alone: an issuer may be replaced while its users stay.
		principal, _ := identity.FromContext(r.Context())
		return xxh64.Sum(principal.Name, 0), principal.Name != ""
	case k.Source:
		addr, ok := identity.PeerAddr(r.RemoteAddr)
		return hashAddr(addr), ok
	}
	return 0, false
}

// fields returns the fields called name, which need not be canonical, without
// allocating as Header.Values would.
func fields(header http.Header, name string) []string {
	if found := header[name]; found != nil {
		return found
	}
	var buf [64]byte
	if len(name) > len(buf) {
		return header.Values(name)
	}
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			c ^= 0x20
		}
		buf[i] = c
		upper = c == '-'
	}
	return header[string(buf[:len(name)])]
}

func hashFields(fields []string) (uint64, bool) {
	if len(fields) == 1 {
		return xxh64.Sum(fields[0], 0), fields[0] != ""
	}
	var digest xxh64.Digest
	empty := true
	for i, field := range fields {
		if i > 0 {
			digest.WriteByte(',')
		}
		digest.WriteString(field)
		empty = empty && field == ""
	}
	return digest.Sum(), !empty
}

func hashParameter(rawQuery, name string) (uint64, bool) {
	value, _ := findParameter(rawQuery, name)
	if !isEscaped(value) {
		return xxh64.Sum(value, 0), value != ""
	}
	var digest xxh64.Digest
	for value != "" {
		var c byte
		c, value, _ = next(value)
		digest.WriteByte(c)
	}
	return digest.Sum(), true
}

func hashAddr(addr netip.Addr) uint64 {
	if addr.Is4() {
		b := addr.As4()
		return xxh64.Sum(b[:], 0)
	}
	b := addr.As16()
	return xxh64.Sum(b[:8], 0)
}

// findCookie returns the value of the first cookie called name, as net/http's
// Request.Cookie finds it: what is malformed is passed over.
func findCookie(lines []string, name string) string {
	for _, line := range lines {
		for line != "" {
			var part string
			part, line, _ = strings.Cut(line, ";")
			key, value, _ := strings.Cut(textproto.TrimString(part), "=")
			if textproto.TrimString(key) != name {
				continue
			}
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			if isCookieValue(value) {
				return value
			}
		}
	}
	return ""
}

func isCookieValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
