package authn

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Options are what a Verifier is wired to.
type Options struct {
	// KeySets fetch the sets of issuers with a JWKSURL. Nil means that the
	// Verifier has some of its own.
	KeySets *KeySets
	// Logger is told at level Debug why tokens are refused, and at Info and
	// Warn about key sets the Verifier fetches by itself. Tokens are never
	// logged. Nil is silence.
	Logger *slog.Logger
}

// Verifier verifies tokens as a Policy says. It is safe for concurrent use.
type Verifier struct {
	policy  Policy
	issuers map[string]*issuer
	cache   *cache
	log     *slog.Logger
	sets    *KeySets
	own     bool
	close   sync.Once

	verified, cached atomic.Uint64
	refused          [numKinds]atomic.Uint64
}

// New returns a Verifier, or every fault of the policy. It does not wait for
// the keys of the issuers: they begin to be fetched, and go on being, until
// Close.
func New(p Policy, o Options) (*Verifier, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	p = p.Effective()
	v := &Verifier{
		policy: p, issuers: make(map[string]*issuer, len(p.Issuers)), cache: newCache(p.CacheEntries, p.CacheBytes),
		log: o.Logger, sets: o.KeySets,
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if v.sets == nil {
		v.sets, v.own = NewKeySets(v.log), true
	}
	for _, i := range p.Issuers {
		issuer, err := newIssuer(i, v.sets)
		if err != nil {
			_ = v.Close() // always nil
			return nil, err
		}
		v.issuers[i.Issuer] = issuer
	}
	return v, nil
}

// Close ends the fetching of keys, of shared KeySets that which nobody else
// needs. The Verifier goes on with the keys it has. It returns nil.
func (v *Verifier) Close() error {
	v.close.Do(func() {
		for _, i := range v.issuers {
			if i.remote != nil {
				v.sets.release(i.remote)
			}
		}
		if v.own {
			_ = v.sets.Close() // always nil
		}
	})
	return nil
}

// Authenticate verifies the token of a request. The error is an *Error, of the
// kind Missing if there is no token. Under Observe it makes and counts the
// same decisions, except that it waits for no keys, and returns the zero Token
// in any case: nobody is to be called by a name that would not be enforced.
//
// A request waits up to 5 seconds, and not longer than its context, for keys
// that are being fetched, if it cannot be verified without them.
func (v *Verifier) Authenticate(r *http.Request) (Token, error) {
	token, kind := v.token(r.Header)
	if kind != 0 {
		return Token{}, v.refuse(&Error{Kind: kind})
	}
	return v.Verify(r.Context(), token)
}

// token returns the token of a request, or why there is none.
func (v *Verifier) token(h http.Header) (string, Kind) {
	fields := h[v.policy.Header]
	switch len(fields) {
	case 0:
		return "", Missing
	case 1:
	default:
		return "", Repeated
	}
	field := fields[0]
	if v.policy.Header != defaultHeader {
		if field == "" {
			return "", Missing
		}
		return field, 0
	}
	scheme, token, ok := strings.Cut(field, " ")
	// RFC 9110, section 11.1: the scheme is compared without regard to case.
	// Another scheme is somebody else's business.
	if !strings.EqualFold(scheme, "Bearer") {
		return "", Missing
	}
	if !ok || token == "" {
		return "", Malformed
	}
	return token, 0
}

// Verify verifies a token that has come in another way than in a request. It
// is otherwise as Authenticate is.
func (v *Verifier) Verify(ctx context.Context, token string) (Token, error) {
	if len(token) > v.policy.MaxToken {
		return Token{}, v.refuse(&Error{Kind: Malformed, Detail: fmt.Sprintf("it is longer than %d bytes", v.policy.MaxToken)})
	}
	now := time.Now()
	var s sum
	if v.cache != nil {
		s = v.cache.sum(token)
		if e := v.cache.get(s, now); e != nil {
			v.cached.Add(1)
			return v.observed(e.token), nil
		}
	}
	e, err := v.verify(ctx, token, now)
	if err != nil {
		return Token{}, v.refuse(err)
	}
	v.verified.Add(1)
	if v.cache != nil {
		e.sum = s
		v.cache.put(e, now)
	}
	return v.observed(e.token), nil
}

// observed is what becomes of a token that is good.
func (v *Verifier) observed(t Token) Token {
	if v.policy.Mode == outcome.Observe {
		return Token{}
	}
	return t
}

// verify verifies a token: its form, its issuer, its key, its signature, and
// only then what it claims.
func (v *Verifier) verify(ctx context.Context, token string, now time.Time) (*entry, *Error) {
	p, err := parse(token)
	if err != nil {
		return nil, err
	}
	i := v.issuers[p.issuer]
	if i == nil {
		return nil, &Error{Kind: UnknownIssuer, Detail: fmt.Sprintf("%.200q", p.issuer)}
	}
	check := i.checkers[p.algorithm]
	if check == nil {
		return nil, &Error{Kind: WrongAlgorithm, Issuer: p.issuer, Detail: p.algorithm}
	}
	k, err := i.key(ctx, p, now, v.policy.Mode != outcome.Observe)
	if err != nil {
		err.Issuer = p.issuer
		return nil, err
	}
	if check(k.public, p.signed, p.signature) != nil {
		return nil, &Error{Kind: BadSignature, Issuer: p.issuer, Detail: fmt.Sprintf("kid %.40q", p.keyID)}
	}
	t, err := p.accept(i, &v.policy, now)
	if err != nil {
		return nil, err
	}
	return &entry{
		token: t, until: t.Expires.Add(max(0, v.policy.Skew)), issuer: i, key: k, size: int64(p.size + entryBytes),
	}, nil
}

// refuse counts a refusal and completes its error.
func (v *Verifier) refuse(err *Error) *Error {
	v.refused[err.Kind].Add(1)
	err.challenge = challenge(err.Kind, v.policy.Realm, strings.Join(v.policy.Scopes, " "))
	if err.Kind != Missing {
		v.log.Debug("token refused", "kind", err.Kind.String(), "issuer", err.Issuer, "error", err)
	}
	return err
}

// Stats count what a Verifier has decided, under Observe what it would have.
type Stats struct {
	// Verified counts tokens that were verified and good, Cached those that
	// were good because they had been before.
	Verified uint64 `json:"verified"`
	Cached   uint64 `json:"cached"`
	// Refused counts the others, by why.
	Refused map[Kind]uint64 `json:"refused,omitzero"`
	// Entries and Bytes are about what is remembered.
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// KeySets are the key sets, by their issuers.
	KeySets map[string]KeySetStats `json:"keySets,omitzero"`
}

// Stats returns the counts so far and the state of the key sets.
func (v *Verifier) Stats() Stats {
	s := Stats{
		Verified: v.verified.Load(), Cached: v.cached.Load(),
		Refused: map[Kind]uint64{}, KeySets: map[string]KeySetStats{},
	}
	for k := range v.refused {
		if n := v.refused[k].Load(); n > 0 {
			s.Refused[Kind(k)] = n
		}
	}
	if v.cache != nil {
		s.Entries, s.Bytes = v.cache.entries.Load(), v.cache.bytes.Load()
	}
	now := time.Now()
	for name, i := range v.issuers {
		if i.remote != nil {
			s.KeySets[name] = i.remote.stats(now)
		} else {
			s.KeySets[name] = KeySetStats{Keys: len(i.static.keys), LeftOut: i.static.leftOut, Usable: true}
		}
	}
	return s
}
