package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"math/rand/v2"
	"net/http"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/peeraddr"
	"github.com/tulle-mesh/tulle/match"
)

// Key says what requests have a bucket in common. The zero Key is one bucket
// for all of them. At most one field besides Route and the prefixes may be set.
//
// Requests that have no such key, or an empty one, share one bucket of the
// same size among them: leaving the key away earns nobody a bucket of his own.
// What a caller can make up, such as a header or a cookie, is a key only where
// somebody has checked it before.
type Key struct {
	// Header is the name of a header field. Several fields of that name count
	// as one, joined with ",".
	Header string `json:"header,omitzero"`
	// Cookie is the name of a cookie; the first of that name counts.
	Cookie string `json:"cookie,omitzero"`
	// Query is the name of a query parameter; the first of that name counts,
	// and escapes make no difference.
	Query string `json:"query,omitzero"`
	// Principal takes the verified principal in the request's context: kind,
	// issuer and name, so that a name means nothing to another issuer.
	Principal bool `json:"principal,omitzero"`
	// Claim is the name of a claim of the verified token in the request's
	// context, such as "tenant" or, with dots, "org.id". All values of a list
	// count, in their order.
	Claim string `json:"claim,omitzero"`
	// Source takes the address in RemoteAddr, cut to IPv4Prefix or IPv6Prefix.
	// It is that of the peer: behind a proxy all requests come from one.
	// Requests that a client makes have none.
	Source bool `json:"source,omitzero"`
	// IPv4Prefix and IPv6Prefix are how many bits of an address count; 0 is 32
	// and 64: one user has as many IPv6 addresses as he likes, of a network.
	// They need Source.
	IPv4Prefix int `json:"ipv4Prefix,omitzero"`
	IPv6Prefix int `json:"ipv6Prefix,omitzero"`
	// Route separates the patterns of a [net/http.ServeMux], alone or together
	// with one of the keys above. It is for limiters around handlers that a
	// mux calls, with Request.Pattern set. A limiter made for one route needs
	// none.
	Route bool `json:"route,omitzero"`
}

// Default prefixes of addresses.
const (
	defaultIPv4Prefix = 32
	defaultIPv6Prefix = 64
)

// Validate returns every fault of the key, joined, each with the path of its
// field.
func (k Key) Validate() error {
	var faults []error
	n := 0
	for _, set := range []bool{k.Header != "", k.Cookie != "", k.Query != "", k.Principal, k.Claim != "", k.Source} {
		if set {
			n++
		}
	}
	if n > 1 {
		faults = append(faults, errors.New("at most one of header, cookie, query, principal, claim and source may be set"))
	}
	for _, m := range []match.Key{{Header: k.Header}, {Cookie: k.Cookie}} {
		if m != (match.Key{}) {
			if err := m.Validate(); err != nil {
				faults = append(faults, err)
			}
		}
	}
	for _, p := range []struct {
		path       string
		bits, most int
	}{{"ipv4Prefix", k.IPv4Prefix, 32}, {"ipv6Prefix", k.IPv6Prefix, 128}} {
		switch {
		case p.bits < 0 || p.bits > p.most:
			faults = append(faults, fmt.Errorf("%s: %d is not between 1 and %d", p.path, p.bits, p.most))
		case p.bits > 0 && !k.Source:
			faults = append(faults, fmt.Errorf("%s: needs source", p.path))
		}
	}
	return errors.Join(faults...)
}

// Effective returns the key with its defaults filled in.
func (k Key) Effective() Key {
	if k.Source {
		or(&k.IPv4Prefix, defaultIPv4Prefix)
		or(&k.IPv6Prefix, defaultIPv6Prefix)
	}
	return k
}

func or[T comparable](v *T, otherwise T) {
	if *v == *new(T) {
		*v = otherwise
	}
}

// global reports whether all requests share one bucket.
func (k *Key) global() bool { return *k == Key{} }

type keyKind uint8

const (
	routeKind keyKind = iota // nothing but the route
	headerKind
	otherKind // a cookie or a query parameter
	principalKind
	claimKind
	sourceKind
)

// extractor finds a Key in requests.
type extractor struct {
	kind   keyKind
	route  bool
	v4, v6 int
	name   string // of the header, canonical, or of the claim
	match  match.Key
}

// extractor returns that of a valid key with its defaults filled in.
func (k Key) extractor() extractor {
	x := extractor{route: k.Route, v4: k.IPv4Prefix, v6: k.IPv6Prefix}
	x.match = match.Key{Header: k.Header, Cookie: k.Cookie, Query: k.Query}
	switch {
	case k.Header != "":
		x.kind, x.name = headerKind, http.CanonicalHeaderKey(k.Header)
	case k.Cookie != "", k.Query != "":
		x.kind = otherKind
	case k.Principal:
		x.kind = principalKind
	case k.Claim != "":
		x.kind, x.name = claimKind, k.Claim
	case k.Source:
		x.kind = sourceKind
	}
	return x
}

// text returns the key of r if it is one text.
func (x *extractor) text(r *http.Request) (string, bool) {
	switch x.kind {
	case headerKind:
		if found := r.Header[x.name]; len(found) == 1 {
			return found[0], found[0] != ""
		}
	case claimKind:
		return claim(r, x.name)
	}
	return x.match.Value(r)
}

// claim returns the claim called name as one text.
func claim(r *http.Request, name string) (string, bool) {
	claims, _ := identity.ClaimsFrom(r.Context())
	if s, ok := claims[name].(string); ok {
		return s, s != ""
	}
	values := claims.Strings(name)
	if len(values) == 1 {
		return values[0], values[0] != ""
	}
	// Lists are told apart however their values look.
	var b []byte
	empty := true
	for _, v := range values {
		b = appendText(b, v)
		empty = empty && v == ""
	}
	return string(b), !empty
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// network is a block of addresses. Those of IPv4 are in their IPv6 form, which
// no other network is in.
type network struct{ hi, lo uint64 }

// source returns the network of r's peer.
func (x *extractor) source(r *http.Request) (n network, ok bool) {
	peer, ok := peeraddr.Parse(r.RemoteAddr)
	if !ok {
		return n, false
	}
	if peer.Is4() {
		// Shifts by 32 and more leave nothing, or all.
		return network{lo: peer.Lo &^ (math.MaxUint32 >> x.v4)}, true
	}
	return network{
		peer.Hi &^ (math.MaxUint64 >> x.v6),
		peer.Lo &^ (math.MaxUint64 >> max(x.v6-64, 0)),
	}, true
}

// seeds make hashes that nobody can foresee, one seed for each part of a key.
type seeds struct {
	text, issuer, route maphash.Seed
	network             [5]uint64
}

func newSeeds() seeds {
	s := seeds{text: maphash.MakeSeed(), issuer: maphash.MakeSeed(), route: maphash.MakeSeed()}
	for i := range s.network {
		s.network[i] = rand.Uint64()
	}
	return s
}

// ofNetwork hashes a network, faster than maphash does. The upper half of a
// multilinear function of 128 bits has two networks collide with a chance of no
// more than 2^-63 (Dietzfelbinger, "Universal hashing and k-wise independent random
// variables via integer arithmetic without primes", 1996). What follows loses
// nothing of that, and leaves no order among neighbours, of which there would
// be some in a linear function.
func (s *seeds) ofNetwork(n network) uint64 {
	k := &s.network
	h1, l1 := bits.Mul64(k[0], n.hi)
	h2, l2 := bits.Mul64(k[2], n.lo)
	_, carry := bits.Add64(l1, l2, 0)
	h := h1 + k[1]*n.hi + h2 + k[3]*n.lo + k[4] + carry
	h = (h ^ h>>32) * spread
	return h ^ h>>32
}

// hash returns the hash of r's key, 0 if it has none.
func (x *extractor) hash(r *http.Request, s *seeds) (sum uint64) {
	switch x.kind {
	case sourceKind:
		n, ok := x.source(r)
		if !ok {
			return 0
		}
		sum = s.ofNetwork(n)
	case principalKind:
		p, ok := identity.FromContext(r.Context())
		if !ok {
			return 0
		}
		sum = maphash.String(s.text, p.Name) ^ maphash.String(s.issuer, p.Issuer) + uint64(p.Kind)
	case routeKind:
		if r.Pattern == "" {
			return 0
		}
	default:
		text, ok := x.text(r)
		if !ok {
			return 0
		}
		sum = maphash.String(s.text, text)
	}
	if x.route {
		sum ^= maphash.String(s.route, r.Pattern)
	}
	return max(sum, 1)
}

// digest returns a name of r's key that is the same in all processes and does
// not tell the key, 22 characters of base64url, or "" if it has none.
func (x *extractor) digest(r *http.Request) string {
	var b []byte
	switch x.kind {
	case sourceKind:
		n, ok := x.source(r)
		if !ok {
			return ""
		}
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, n.hi), n.lo)
	case principalKind:
		p, ok := identity.FromContext(r.Context())
		if !ok {
			return ""
		}
		b = appendText(appendText(append(b, byte(p.Kind)), p.Issuer), p.Name)
	case routeKind:
		if r.Pattern == "" {
			return ""
		}
	default:
		text, ok := x.text(r)
		if !ok {
			return ""
		}
		b = appendText(b, text)
	}
	if x.route {
		b = appendText(b, r.Pattern)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
