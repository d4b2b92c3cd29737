package authz

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
)

// needs says which facts the rules of a policy ask for.
type needs struct{ caller, addr, claims, host, path bool }

// facts are what rules judge a request by, each found out once.
type facts struct {
	header http.Header
	method string

	caller identity.Principal
	// known is yes for a caller with a verified name, no for an anonymous one,
	// and doubt for a principal that is not whole.
	known verdict

	addr   netip.Addr // invalid if there is none
	claims identity.Claims

	host     string
	hostSure bool
	// hostPlain says that the host was sent as it is here.
	hostPlain bool
	path      string
	pathSure  bool
}

// gather finds out what n asks for. It does not allocate, unless the host has
// another case or form than the canonical one.
func (f *facts) gather(r *http.Request, n needs) {
	f.header, f.method = r.Header, r.Method
	if f.method == "" {
		f.method = http.MethodGet
	}
	if n.caller {
		p, ok := identity.FromContext(r.Context())
		f.caller = p
		switch {
		case !ok:
			f.known = no
		case p.Kind == identity.Anonymous || p.Name == "":
			f.known = doubt
		default:
			f.known = yes
		}
	}
	if n.addr {
		f.addr, _ = identity.PeerAddr(r.RemoteAddr)
	}
	if n.claims {
		f.claims, _ = identity.ClaimsFrom(r.Context())
	}
	if n.host && r.URL != nil {
		f.host, _ = match.CanonicalHost(r)
		// Handlers look at Host. net/http sees to it that they are the same.
		f.hostSure = f.host != "" && (r.URL.Host == "" || r.URL.Host == r.Host)
		f.hostPlain = isPlain(r.Host, f.host)
	}
	if n.path {
		f.path, f.pathSure = plainPath(r)
	}
}

// isPlain reports whether host, which may have a port, is name as it is.
func isPlain(host, name string) bool {
	if literal, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(literal, "]")
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return host == name
}
