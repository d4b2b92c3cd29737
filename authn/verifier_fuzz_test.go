package authn_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/authn"
)

// No text that was not signed is a token, and a good token is one in no other
// spelling.
func FuzzVerify(f *testing.F) {
	p := static(named(edKey(), "ed"), named(ecKey(), "ec"), named(rsaKey(), "rsa"))
	cached, err := authn.New(p, authn.Options{})
	if err != nil {
		f.Fatal(err)
	}
	p.CacheEntries = -1
	bare, err := authn.New(p, authn.Options{})
	if err != nil {
		f.Fatal(err)
	}
	good := map[string]bool{}
	for alg, s := range map[string]string{"EdDSA": ed("ed"), "ES256": token(ecKey(), "ES256", "ec", nil), "RS256": token(rsaKey(), "RS256", "rsa", nil)} {
		if _, err := cached.Verify(f.Context(), s); err != nil {
			f.Fatal(alg, err)
		}
		good[s] = true
		f.Add(s)
	}
	for _, c := range hostile(f) {
		if len(c[0]) < 2000 {
			f.Add(c[0])
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := cached.Verify(t.Context(), text)
		_, again := bare.Verify(t.Context(), text)
		if kindOf(err) != kindOf(again) {
			t.Fatalf("%q: %v with a cache, %v without", text, err, again)
		}
		// Of an ECDSA signature anybody can make one other: s may be negated.
		if err == nil && !good[text] && !strings.HasPrefix(text, firstParts(good, "ES256")) {
			t.Fatalf("%q is accepted as %v", text, got)
		}
		if err != nil && !got.IsZero() {
			t.Fatalf("%q is refused and yields %v", text, got)
		}
	})
}

// firstParts returns what was signed of the token with that algorithm.
func firstParts(tokens map[string]bool, alg string) string {
	for t := range tokens {
		header := t[:strings.IndexByte(t, '.')]
		if strings.Contains(string(must(decode(header))), alg) {
			return t[:strings.LastIndexByte(t, '.')]
		}
	}
	return "none"
}

// Whatever a key set holds, only keys that were meant to can verify, and what
// is valid JSON and what is not are told apart as encoding/json does.
func FuzzKeySet(f *testing.F) {
	secret := edOther()
	for _, seed := range []string{
		jwks(), jwks(named(edKey(), "a")), jwks(named(rsaKey(), "a"), named(ecKey(), "b")), jwks(jwk(ec521(), object{"alg": "ES512"})),
		jwks(object{"kty": "oct", "k": "AAAA"}), jwks(named(edKey(), "a"), named(ecKey(), "a")), jwks(jwk(edKey(), object{"d": "AA"})),
		`{}`, `{"keys":[{}]}`, `{"keys":[{"kty":"RSA","n":"","e":""}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`,
		"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		f.Add(seed)
	}
	forged := token(secret, "EdDSA", "a", nil)
	f.Fuzz(func(t *testing.T, set string) {
		p := static()
		p.Issuers[0].JWKS = set
		v, err := authn.New(p, authn.Options{})
		if err != nil {
			return
		}
		if !strings.HasPrefix(strings.TrimSpace(set), "-----BEGIN") && !json.Valid([]byte(set)) {
			t.Fatalf("%q is accepted", set)
		}
		if v.Stats().KeySets[issuerName].Keys == 0 {
			t.Fatalf("%q is accepted without keys", set)
		}
		if _, err := v.Verify(t.Context(), forged); err == nil {
			t.Fatalf("%q verifies what it has not signed", set)
		}
	})
}

// A field is a token only after the one scheme, and nothing else decides.
func FuzzAuthorization(f *testing.F) {
	v, err := authn.New(static(named(edKey(), "k")), authn.Options{})
	if err != nil {
		f.Fatal(err)
	}
	good := ed("k")
	for _, seed := range []string{"", "Bearer ", "Bearer " + good, "bearer " + good, "Basic YTpi", good, "Bearer  " + good, "Bearer " + good + ",", "Bearer\t" + good} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		_, err := v.Authenticate(&http.Request{Header: http.Header{"Authorization": {field}}})
		want := len(field) == len("Bearer ")+len(good) && strings.EqualFold(field[:7], "Bearer ") && field[7:] == good
		if want != (err == nil) {
			t.Fatalf("%q: %v", field, err)
		}
		if _, err := v.Authenticate(&http.Request{Header: http.Header{"Authorization": {field, field}}}); kindOf(err) != "repeated" {
			t.Fatalf("twice %q: %v", field, err)
		}
	})
}
