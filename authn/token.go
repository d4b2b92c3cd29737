package authn

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/identity"
)

// Token is a verified token.
type Token struct {
	// Principal is its subject, of the kind identity.Token. Its name is empty
	// if the token has no sub.
	Principal identity.Principal
	// Claims are all it says. They are shared by all requests with the token.
	Claims identity.Claims
	// Expires is the end of its time, without the skew.
	Expires time.Time
}

// IsZero reports whether there is no token.
func (t Token) IsZero() bool { return t.Claims == nil }

// parsed is a token of which nothing is verified but its form.
type parsed struct {
	typ       string
	algorithm string
	keyID     string
	issuer    string
	claims    map[string]any
	// size is about how much memory the claims take.
	size      int
	signed    []byte
	signature []byte
}

// parse reads a JWS in compact serialisation, the one form of a token there
// is: three parts, and nothing in them that could be read in another way.
func parse(token string) (*parsed, *Error) {
	malformed := func(format string, args ...any) (*parsed, *Error) {
		return nil, &Error{Kind: Malformed, Detail: fmt.Sprintf(format, args...)}
	}
	protected, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return malformed("it does not have three parts")
	}
	p := &parsed{signed: []byte(token[:len(protected)+1+len(payload)])}
	header, _, err := decodePart(protected)
	if err != nil {
		return malformed("header: %v", err)
	}
	if p.signature, err = decode64(signature); err != nil {
		return malformed("signature: %v", err)
	}
	// RFC 7515, section 4.1.11: a recipient that does not understand what crit
	// lists rejects the token, and nothing of that is understood here. RFC
	// 7797, b64, and zip would change what it is that was signed.
	for _, name := range [...]string{"crit", "b64", "zip", "enc"} {
		if _, ok := header[name]; ok {
			return malformed("header: %s is not supported", name)
		}
	}
	alg, ok := header["alg"].(string)
	if !ok {
		return malformed("header: alg is no string")
	}
	if p.algorithm = canonical(alg); p.algorithm == "" {
		return nil, &Error{Kind: WrongAlgorithm, Detail: fmt.Sprintf("alg is %.20q", alg)}
	}
	if v, ok := header["kid"]; ok {
		if p.keyID, ok = v.(string); !ok || p.keyID == "" || len(p.keyID) > maxKeyID {
			return malformed("header: kid is no string of 1 to %d bytes", maxKeyID)
		}
	}
	if v, ok := header["typ"]; ok {
		if p.typ, ok = v.(string); !ok || p.typ == "" {
			return malformed("header: typ is no text")
		}
	}
	if p.claims, p.size, err = decodePart(payload); err != nil {
		return malformed("claims: %v", err)
	}
	if p.issuer, ok = p.claims["iss"].(string); !ok || p.issuer == "" {
		return malformed("claims: iss is no text")
	}
	return p, nil
}

func decodePart(part string) (map[string]any, int, error) {
	text, err := decode64(part)
	if err != nil {
		return nil, 0, err
	}
	return decodeObject(string(text))
}

// accept checks what the claims of a token say against the terms of its
// issuer and of the policy. Its signature has been verified.
func (p *parsed) accept(i *issuer, policy *Policy, now time.Time) (Token, *Error) {
	fail := func(k Kind, format string, args ...any) (Token, *Error) {
		return Token{}, &Error{Kind: k, Issuer: p.issuer, Detail: fmt.Sprintf(format, args...)}
	}
	if !slices.ContainsFunc(i.Types, func(t string) bool { return strings.EqualFold(t, mediaType(p.typ)) }) {
		return fail(WrongType, "typ is %.40q", p.typ)
	}
	skew := max(0, policy.Skew)
	exp, ok, err := p.date("exp")
	switch {
	case err != nil || !ok:
		return fail(Malformed, "claims: exp is no date")
	case !now.Before(exp.Add(skew)):
		return fail(Expired, "since %s", exp.UTC().Format(time.RFC3339))
	}
	if nbf, ok, err := p.date("nbf"); err != nil {
		return fail(Malformed, "claims: nbf is no date")
	} else if ok && now.Add(skew).Before(nbf) {
		return fail(NotYetValid, "before %s", nbf.UTC().Format(time.RFC3339))
	}
	iat, issued, err := p.date("iat")
	if err != nil {
		return fail(Malformed, "claims: iat is no date")
	}
	start := now
	if issued {
		if start = iat; now.Add(skew).Before(iat) {
			return fail(NotYetValid, "issued at %s", iat.UTC().Format(time.RFC3339))
		}
	}
	if exp.Sub(start) > i.MaxLifetime {
		return fail(TooLongLived, "%v exceeds the limit of %v", exp.Sub(start), i.MaxLifetime)
	}
	meant, err := p.audiences()
	if err != nil {
		return fail(Malformed, "claims: %v", err)
	}
	if !slices.ContainsFunc(meant, func(a string) bool { return slices.Contains(i.Audiences, a) }) {
		return fail(WrongAudience, "aud is %.200q", meant)
	}
	sub := ""
	if v, ok := p.claims["sub"]; ok {
		if sub, ok = v.(string); !ok || sub == "" {
			return fail(Malformed, "claims: sub is no text")
		}
	}
	// RFC 7800: what has it is no bearer token, and worth nothing in the hands
	// of whoever has found it.
	if _, ok := p.claims["cnf"]; ok {
		return fail(Malformed, "claims: cnf asks for the proof of a key")
	}
	claims := identity.Claims(p.claims)
	if len(policy.Scopes) > 0 {
		has := slices.Concat(claims.Strings("scope"), claims.Strings("scp"))
		for _, s := range policy.Scopes {
			if !slices.Contains(has, s) {
				return fail(InsufficientScope, "%s", s)
			}
		}
	}
	return Token{
		Principal: identity.Principal{Kind: identity.Token, Name: sub, Issuer: p.issuer},
		Claims:    claims,
		Expires:   exp,
	}, nil
}

// audiences returns the claim aud, which is a string or several.
func (p *parsed) audiences() ([]string, error) {
	switch v := p.claims["aud"].(type) {
	case string:
		return []string{v}, nil
	case []any:
		all := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("aud[%d] is no text", i)
			}
			all[i] = s
		}
		return all, nil
	}
	return nil, fmt.Errorf("aud is neither a text nor several")
}

// maxDate is the last second of the year 9999, in seconds since 1970.
const maxDate = 253402300799

// date returns a claim that is a NumericDate of RFC 7519, "representing the
// number of seconds from 1970-01-01T00:00:00Z", which may have fractions.
func (p *parsed) date(name string) (time.Time, bool, error) {
	v, ok := p.claims[name]
	if !ok {
		return time.Time{}, false, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false, fmt.Errorf("%s is no number", name)
	}
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil && i >= 0 && i <= maxDate {
		return time.Unix(i, 0), true, nil
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || !(f >= 0 && f <= maxDate) {
		return time.Time{}, false, fmt.Errorf("%s is out of range", name)
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), true, nil
}
