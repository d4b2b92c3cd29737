package tulle

import (
	"reflect"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// Inbound is what requests to this process are subject to on their way to its
// handler, see Mesh.Handler. The zero Inbound counts them, takes over the
// deadline that a caller tells, and lets everything else be as it is.
//
// Stages come in one order, cheap ones first: what was not asked for is
// stripped; then come the cap on requests at once, the word of the caller that
// another server had better do it if this one is busy, limits by address, the
// size, the deadline, authentication, limits by principal, authorization, and
// the guard against overload. The first that refuses answers.
type Inbound struct {
	// Trust says which peers are believed in what Strip is about, and whose
	// traces go on here. To those of others there is a link.
	Trust identity.Trust
	// Strip lists header fields that only peers in Trust may send, such as
	// those in which a gateway tells who the user is. They are taken out of
	// the requests of others, in any case and with underscores, too. Fields
	// that authn sets from claims are taken out of all.
	Strip []string
	// InFlight bounds the requests that are looked at all at once, before
	// anything expensive is done for them. None of them waits for a place;
	// Overload is for that.
	InFlight *breaker.Limit
	// Overload guards the handler, and tells callers on each response how
	// busy it is. A caller that balances on that may say with a request how
	// much it expects to find here; if there is more, the request goes back to
	// it with 421, before it is charged for or looked at, see
	// overload.Guard.SendBack. Who is exempt is judged without what a token
	// says then. What a caller says in the field Tulle-Call can
	// only take from it, so it is heeded from all, unless Strip has the field.
	Overload *overload.Policy
	// Guard applies to all requests.
	Guard Guard
	// Rules apply to some, the first that matches. What its Guard leaves
	// unset is taken from the Guard above.
	Rules []Rule
	// Grace is how long a process that is told to stop goes on serving, while
	// it tells callers that it is leaving: 0 is 5 s, negative none. It has to
	// be longer than it takes for discovery to notice.
	Grace time.Duration
	// DrainTimeout is how long requests may then take to end: 0 is 30 s.
	DrainTimeout time.Duration
}

// Rule is a Guard for some requests.
type Rule struct {
	// Name identifies the rule in State.
	Name string
	// Match lists requests that the rule is for, any of them. Empty means
	// every request. Principals are those of certificates: no token has been
	// looked at yet. A preflight of CORS has the method OPTIONS. GET stands for
	// HEAD as well, as it does for http.ServeMux. A path that is under one rule
	// as it was sent and under another when dot segments, repeated slashes and
	// escapes are resolved, once or twice, backslashes are slashes and what is
	// behind a semicolon is cut off, is refused with 400: who knows which of
	// them the handler takes it for, or a program behind it. So is a host that is under one rule as it was sent
	// and under another in lower case and without a dot at its end, and, if
	// there are rules by host, one that is none. The host and its port are what
	// the caller writes: a rule by host is for handlers that go by it, too.
	Match []match.Request
	// Guard applies to them.
	Guard Guard
}

// Guard is what stands between a request and the handler. A nil or zero field
// of a Rule's is inherited; what is set nowhere is off.
type Guard struct {
	// Timeout bounds how long the handler may take, by the deadline of the
	// request's context; an earlier one of the caller's counts. What is left
	// of the body then cannot be read any more. Zero is unset, negative is
	// none.
	Timeout time.Duration `json:"timeout,omitzero"`
	// Body bounds what is read of a request's body.
	Body *BodyLimit `json:"body,omitzero"`
	// RateLimit bounds how often a caller may ask. Its policies by principal
	// or claim count after authentication, the others before. What is
	// inherited is shared with all that inherit it.
	RateLimit *ratelimit.Config `json:"rateLimit,omitzero"`
	// CORS lets scripts of other origins ask.
	CORS *CORS `json:"cors,omitzero"`
	// Authn verifies bearer tokens. A request without one is refused, unless
	// Anonymous is set.
	Authn *authn.Policy `json:"authn,omitzero"`
	// Anonymous lets requests without a token pass, as nobody. A token that
	// is no good is refused all the same. A rule with an Authn of its own
	// does not inherit it.
	Anonymous *Anonymous `json:"anonymous,omitzero"`
	// Authz decides who may do what.
	Authz *authz.Policy `json:"authz,omitzero"`
}

// Anonymous is the word that requests need no token.
type Anonymous struct{}

// BodyLimit bounds the bodies of requests.
type BodyLimit struct {
	// Mode is whether larger bodies are refused or only counted.
	Mode outcome.Mode `json:"mode,omitzero"`
	// MaxBytes is the length of the largest body that is read.
	MaxBytes int64 `json:"maxBytes,omitzero"`
}

const (
	defaultGrace        = 5 * time.Second
	defaultDrainTimeout = 30 * time.Second
)

// grace and drainTimeout return those in force.
func (in *Inbound) grace() time.Duration {
	if in.Grace == 0 {
		return defaultGrace
	}
	return max(0, in.Grace)
}

func (in *Inbound) drainTimeout() time.Duration {
	if in.DrainTimeout == 0 {
		return defaultDrainTimeout
	}
	return in.DrainTimeout
}

// or fills in from the wider guard what g leaves unset.
func (g Guard) or(wider Guard) Guard {
	if g.Timeout == 0 {
		g.Timeout = wider.Timeout
	}
	if g.Authn == nil && g.Anonymous == nil {
		g.Anonymous = wider.Anonymous
	}
	g.Body = orPtr(g.Body, wider.Body)
	g.RateLimit = orPtr(g.RateLimit, wider.RateLimit)
	g.CORS = orPtr(g.CORS, wider.CORS)
	g.Authn = orPtr(g.Authn, wider.Authn)
	g.Authz = orPtr(g.Authz, wider.Authz)
	return g
}

func (in *Inbound) validate(f *faults) {
	f.join("trust", in.Trust.Validate())
	for i, name := range in.Strip {
		if !isToken(name) {
			f.add("strip[%d]: %q is no name of a field", i, name)
		}
	}
	validate(f, "inFlight", in.InFlight)
	if l := in.InFlight; l != nil && (l.Waiting != 0 || l.MaxWait != 0) {
		f.add("inFlight.waiting: none of them waits, see overload for that")
	}
	validate(f, "overload", in.Overload)
	if in.DrainTimeout < 0 {
		f.add("drainTimeout: %v is negative", in.DrainTimeout)
	}
	in.Guard.validate(f.at("guard"))
	if in.Guard.Anonymous != nil && in.Guard.Authn == nil {
		f.add("guard.anonymous: is never used, there is no authn")
	}
	names := map[string]int{}
	for i, r := range in.Rules {
		f := f.item("rules", i, r.Name)
		if first, twice := names[r.Name]; twice {
			f.add("name: rules[%d] has it already", first)
		}
		if names[r.Name] = i; r.Name == "" {
			f.add("name: is empty")
		}
		for j, m := range r.Match {
			for _, err := range unjoin(m.Validate()) {
				f.add("match[%d].%w", j, err)
			}
		}
		if len(r.Match) == 0 && i < len(in.Rules)-1 {
			f.add("match: is empty, which every request fits, so that no later rule is ever asked")
		}
		for k, earlier := range in.Rules[:i] {
			if len(r.Match) > 0 && reflect.DeepEqual(r.Match, earlier.Match) {
				f.add("match: is that of rules[%d], so that this rule is never asked", k)
			}
		}
		r.Guard.validate(f.at("guard"))
		if g := r.Guard.or(in.Guard); r.Guard.Anonymous != nil && g.Authn == nil {
			f.add("guard.anonymous: is never used, there is no authn")
		}
	}
}

func (g Guard) validate(f *faults) {
	if g.Body != nil {
		if g.Body.Mode > outcome.Observe {
			f.add("body.mode: %d is neither Enforce nor Observe", g.Body.Mode)
		}
		if g.Body.MaxBytes <= 0 {
			f.add("body.maxBytes: %d is not positive", g.Body.MaxBytes)
		}
	}
	validate(f, "rateLimit", g.RateLimit)
	if g.RateLimit != nil {
		for i, p := range g.RateLimit.Policies {
			if p.Key.Route {
				f.add("rateLimit.policies[%d].key.route: is not known before the handler; use a rule for each route", i)
			}
		}
		if g.RateLimit.MaxWait != 0 {
			f.add("rateLimit.maxWait: is for clients, a server does not hold requests")
		}
	}
	if g.CORS != nil {
		g.CORS.validate(f)
	}
	validate(f, "authn", g.Authn)
	validate(f, "authz", g.Authz)
}

// isToken reports whether s is a token of RFC 9110, 5.6.2, as names of header
// fields are.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// fold makes the names of fields alike that programs behind us may not tell
// apart: CGI, and all that is made after it, knows only underscores.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// named reports whether a field has one of the names, which are folded.
func named(names []string, field string) bool {
	for _, name := range names {
		if len(name) == len(field) && folded(field, name) {
			return true
		}
	}
	return false
}

func folded(field, name string) bool {
	for i := range len(field) {
		c := field[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '_':
			c = '-'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
