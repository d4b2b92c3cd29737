package authn

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Defaults and bounds of a Policy.
const (
	defaultHeader       = "Authorization"
	defaultRealm        = "restricted"
	defaultSkew         = 30 * time.Second
	maxSkew             = 5 * time.Minute
	defaultMaxToken     = 8 << 10
	minMaxToken         = 256
	maxMaxToken         = 64 << 10
	defaultMaxLifetime  = 24 * time.Hour
	defaultCacheEntries = 4096
	maxCacheEntries     = 1 << 20
	defaultCacheBytes   = 16 << 20
)

// Policy says whose tokens are accepted. It is data; zero fields are the
// defaults named here.
type Policy struct {
	// Mode Observe verifies and counts, and lets everything pass as it came:
	// nobody is called by a name, no header is touched, and no request waits
	// for keys.
	Mode outcome.Mode `json:"mode,omitzero"`
	// Issuers are those whose tokens are accepted, each under its own terms.
	// There must be at least one.
	Issuers []Issuer `json:"issuers,omitzero"`
	// Scopes are what every token must have, all of them, in its claim scope
	// or scp.
	Scopes []string `json:"scopes,omitzero"`
	// Header is the field that holds the token. Empty is Authorization, where
	// the token follows "Bearer "; in any other it is the whole value.
	Header string `json:"header,omitzero"`
	// Strip takes that field out of the request once the token is verified,
	// so that it goes no further. Without it the field stays.
	Strip bool `json:"strip,omitzero"`
	// ClaimHeaders are fields that tell the handler claims, by the name of
	// the field and of the claim, as in identity.Claims.Strings; several
	// values are joined by commas, and left out if one of them has a comma
	// itself. Whatever fields of these names a request comes with are removed,
	// whether it has a token or not, and spelled with underscores, too; so are
	// their names from the field Connection, by which a caller could have a
	// reverse proxy drop them.
	ClaimHeaders map[string]string `json:"claimHeaders,omitzero"`
	// Skew is by how much clocks may differ: 0 is 30 s, negative none, 5
	// minutes the limit.
	Skew time.Duration `json:"skew,omitzero"`
	// MaxToken is the length of the longest token, in bytes: 0 is 8 KiB, 256
	// and 64 KiB are the limits.
	MaxToken int `json:"maxToken,omitzero"`
	// CacheEntries is about how many verified tokens are remembered, so that
	// their next use costs no verification: 0 is 4096, negative none.
	CacheEntries int `json:"cacheEntries,omitzero"`
	// CacheBytes is about how much memory they may take: 0 is 16 MiB.
	CacheBytes int64 `json:"cacheBytes,omitzero"`
	// Realm is what callers without a token are told they ask for: empty is
	// "restricted".
	Realm string `json:"realm,omitzero"`
}

// Issuer is one issuer and the terms of its tokens. Either JWKSURL or JWKS is
// set.
type Issuer struct {
	// Issuer is the claim iss of its tokens, compared byte by byte. It is
	// required.
	Issuer string `json:"issuer"`
	// Audiences are the names under which the tokens can be meant for this
	// server: the claim aud must have one of them. At least one is required.
	Audiences []string `json:"audiences"`
	// JWKSURL is where the issuer publishes its key set. It must be https.
	JWKSURL string `json:"jwksUrl,omitzero"`
	// PlainHTTP allows JWKSURL to be http, on this machine's loopback
	// addresses only.
	PlainHTTP bool `json:"plainHttp,omitzero"`
	// Transport fetches the key set: for certificates of one's own, or
	// another way to it. Its idle connections are left alone. Nil is one of
	// our own, with proxies from the environment.
	Transport http.RoundTripper `json:"-"`
	// JWKS is the key set itself: the JSON of a JWK Set, or public keys and
	// certificates as PEM blocks.
	JWKS string `json:"jwks,omitzero"`
	// Algorithms are those its tokens may be signed with, of RS256, RS384,
	// RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA (Ed25519).
	// Nil is RS256, ES256 and EdDSA. A key is only ever used with one: an RSA
	// key that does not name it, with the first here for RSA.
	Algorithms []string `json:"algorithms,omitzero"`
	// Types are the values that the header typ may have, without
	// "application/" and in any case, where "" allows that there is none. Nil
	// is "JWT", "at+jwt" and "".
	Types []string `json:"types,omitzero"`
	// MaxLifetime is how long a token may be valid, from its iat, or from now
	// if it has none, to its exp: 0 is 24 hours.
	MaxLifetime time.Duration `json:"maxLifetime,omitzero"`
}

// Validate returns every fault of the policy, joined, each with its path. It
// fetches nothing.
func (p Policy) Validate() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.Mode > outcome.Observe {
		add("mode: %d is neither Enforce nor Observe", p.Mode)
	}
	if len(p.Issuers) == 0 {
		add("issuers: there is none")
	}
	seen := map[string]bool{}
	for i, issuer := range p.Issuers {
		for _, err := range issuer.faults() {
			add("issuers[%d].%w", i, err)
		}
		if issuer.Issuer != "" && seen[issuer.Issuer] {
			add("issuers[%d].issuer: %s is listed twice", i, issuer.Issuer)
		}
		seen[issuer.Issuer] = true
	}
	for i, s := range p.Scopes {
		if !scopeToken(s) {
			add("scopes[%d]: %q is no scope", i, s)
		}
	}
	if p.Header != "" && !fieldName(p.Header) {
		add("header: %q is no name of a field", p.Header)
	}
	for _, name := range slices.Sorted(maps.Keys(p.ClaimHeaders)) {
		switch {
		case !fieldName(name):
			add("claimHeaders[%q]: is no name of a field", name)
		case fold(name) == fold(cmp.Or(p.Header, defaultHeader)) || fold(name) == "host":
			add("claimHeaders[%q]: the field is taken", name)
		}
		if p.ClaimHeaders[name] == "" {
			add("claimHeaders[%q]: no claim is named", name)
		}
	}
	if p.Skew > maxSkew {
		add("skew: %v exceeds the limit of %v", p.Skew, maxSkew)
	}
	if p.MaxToken != 0 && (p.MaxToken < minMaxToken || p.MaxToken > maxMaxToken) {
		add("maxToken: %d is not between %d and %d", p.MaxToken, minMaxToken, maxMaxToken)
	}
	if p.CacheEntries > maxCacheEntries {
		add("cacheEntries: %d exceeds the limit of %d", p.CacheEntries, maxCacheEntries)
	}
	if p.CacheBytes < 0 {
		add("cacheBytes: %d is negative", p.CacheBytes)
	}
	for _, r := range p.Realm {
		if r < ' ' || r > '~' {
			add("realm: %q has characters that a quoted string cannot have", p.Realm)
			break
		}
	}
	return errors.Join(faults...)
}

func (i Issuer) faults() []error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if i.Issuer == "" {
		add("issuer: is required")
	}
	if len(i.Audiences) == 0 {
		add("audiences: at least one is required")
	}
	for n, a := range i.Audiences {
		if a == "" {
			add("audiences[%d]: is empty", n)
		}
	}
	switch {
	case i.JWKSURL == "" && i.JWKS == "":
		add("jwks, jwksUrl: neither is set")
	case i.JWKSURL != "" && i.JWKS != "":
		add("jwks: excludes jwksUrl")
	case i.JWKS != "":
		if _, err := parseStatic(i.JWKS); err != nil {
			add("jwks: %w", err)
		}
	default:
		if err := i.urlFault(); err != nil {
			add("jwksUrl: %w", err)
		}
	}
	if v := reflect.ValueOf(i.Transport); v.Kind() == reflect.Pointer && v.IsNil() {
		add("transport: is a nil %T", i.Transport)
	} else if v.IsValid() && !v.Comparable() {
		add("transport: a %T cannot be compared, use a pointer to it", i.Transport)
	}
	if i.Algorithms != nil && len(i.Algorithms) == 0 {
		add("algorithms: there is none")
	}
	for n, a := range i.Algorithms {
		switch {
		case canonical(a) == "":
			add("algorithms[%d]: %q is none of %s", n, a, algorithmNames())
		case slices.ContainsFunc(i.Algorithms[:n], func(b string) bool { return canonical(a) == canonical(b) }):
			add("algorithms[%d]: %s is listed twice", n, a)
		}
	}
	if i.Types != nil && len(i.Types) == 0 {
		add("types: there is none")
	}
	for n, t := range i.Types {
		if t != mediaType(t) {
			add("types[%d]: write %q", n, mediaType(t))
		}
	}
	if i.MaxLifetime < 0 {
		add("maxLifetime: %v is negative", i.MaxLifetime)
	}
	return faults
}

func (i Issuer) urlFault() error {
	u, err := url.Parse(i.JWKSURL)
	switch {
	case err != nil:
		// The error quotes the URL, and that may hold a password.
		return errors.New("is no URL")
	case u.Scheme == "http" && !i.PlainHTTP:
		return fmt.Errorf("%s is not https: whoever is in between could put keys of their own there", bare(u))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("%s is not https, and not on this machine", bare(u))
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
		return fmt.Errorf("%s is not of the form https://host/path", bare(u))
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// bare is u without what may be secret.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// Effective returns the policy with its defaults filled in. It shares no
// memory with p but the Transports.
func (p Policy) Effective() Policy {
	p.Header = textproto.CanonicalMIMEHeaderKey(cmp.Or(p.Header, defaultHeader))
	p.Realm = cmp.Or(p.Realm, defaultRealm)
	p.Skew = cmp.Or(p.Skew, defaultSkew)
	p.MaxToken = cmp.Or(p.MaxToken, defaultMaxToken)
	p.CacheEntries = cmp.Or(p.CacheEntries, defaultCacheEntries)
	p.CacheBytes = cmp.Or(p.CacheBytes, defaultCacheBytes)
	p.Scopes = slices.Clone(p.Scopes)
	p.ClaimHeaders = maps.Clone(p.ClaimHeaders)
	p.Issuers = slices.Clone(p.Issuers)
	for n := range p.Issuers {
		i := &p.Issuers[n]
		i.Audiences = slices.Clone(i.Audiences)
		i.MaxLifetime = cmp.Or(i.MaxLifetime, defaultMaxLifetime)
		if i.Algorithms = slices.Clone(i.Algorithms); i.Algorithms == nil {
			i.Algorithms = []string{"RS256", "ES256", "EdDSA"}
		}
		for n, a := range i.Algorithms {
			i.Algorithms[n] = canonical(a)
		}
		if i.Types = slices.Clone(i.Types); i.Types == nil {
			i.Types = []string{"JWT", "at+jwt", ""}
		}
	}
	return p
}

// mediaType returns what a typ means. RFC 7515, section 4.1.9: a recipient
// "MUST treat it as if "application/" were prepended to any "typ" value not
// containing a '/'".
func mediaType(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) && !strings.Contains(typ[len(prefix):], "/") {
		return typ[len(prefix):]
	}
	return typ
}

// fieldName reports whether name is a token as RFC 9110 has them.
func fieldName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return name != ""
}

// scopeToken reports whether s is a scope-token of RFC 6749.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}
