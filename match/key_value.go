package match

import (
	"net/http"
	"strings"

	"github.com/tulle-mesh/tulle/identity"
)

// Value returns what k says of r as text, and whether r has it: what is absent
// or empty it has not. It is what Hash hashes, but for Source, whose value is
// the IPv4 address or the IPv6 prefix, such as "2001:db8::/64". It allocates
// only to join several fields, to decode an escaped parameter, and for Source.
func (k Key) Value(r *http.Request) (string, bool) {
	var value string
	switch {
	case k.Header != "":
		found := fields(r.Header, k.Header)
		if len(found) == 1 {
			value = found[0]
		} else if _, ok := hashFields(found); ok {
			value = strings.Join(found, ",")
		}
	case k.Cookie != "":
		value = findCookie(r.Header["Cookie"], k.Cookie)
	case k.Query != "":
		value, _ = findParameter(r.URL.RawQuery, k.Query)
		if isEscaped(value) {
			value = unescape(value)
		}
	case k.Principal:
		principal, _ := identity.FromContext(r.Context())
		value = principal.Name
	case k.Source:
		addr, ok := identity.PeerAddr(r.RemoteAddr)
		switch {
		case ok && addr.Is4():
			value = addr.String()
		case ok:
			prefix, _ := addr.Prefix(64) // fails for no IPv6 address
			value = prefix.String()
		}
	}
	return value, value != ""
}
