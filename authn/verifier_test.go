package authn_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestGoodTokens(t *testing.T) {
	for _, c := range []struct {
		alg string
		key crypto.Signer
	}{
		{"RS256", rsaKey()}, {"RS384", rsaKey()}, {"RS512", rsaKey()},
		{"PS256", rsaKey()}, {"PS384", rsaKey()}, {"PS512", rsaKey()},
		{"ES256", ecKey()}, {"ES384", ec384()}, {"ES512", ec521()}, {"EdDSA", edKey()}, {"Ed25519", edKey()},
	} {
		t.Run(c.alg, func(t *testing.T) {
			for _, named := range []object{{"kid": "k"}, {"kid": "k", "alg": c.alg, "use": "sig", "key_ops": []string{"verify"}}, {}} {
				p := static(jwk(c.key, named))
				p.Issuers[0].Algorithms = []string{c.alg}
				v := verifier(t, p)
				for _, kid := range []string{"k", ""} {
					got, err := v.Verify(t.Context(), token(c.key, c.alg, kid, object{"groups": []string{"a", "b"}}))
					require.NoError(t, err)
					assert.Equal(t, identity.Principal{Kind: identity.Token, Name: "alice", Issuer: issuerName}, got.Principal)
					assert.Equal(t, []string{"a", "b"}, got.Claims.Strings("groups"))
				}
				// The same claims and another key's signature: the negative control
				// of everything here.
				for _, other := range []crypto.Signer{rsaOther(), ecOther(), edOther()} {
					_, err := v.Verify(t.Context(), token(other, c.alg, "k", nil))
					assert.Equal(t, "bad_signature", kindOf(err))
				}
			}
		})
	}
}

// Each row takes one thing away from a token that is good as it stands.
func TestClaims(t *testing.T) {
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		claims object
		want   string
	}{
		"as it stands":         {nil, "<nil>"},
		"no exp":               {object{"exp": nil}, "malformed"},
		"no iss":               {object{"iss": nil}, "malformed"},
		"no aud":               {object{"aud": nil}, "malformed"},
		"no sub":               {object{"sub": nil}, "<nil>"},
		"no iat":               {object{"iat": nil}, "<nil>"},
		"expired":              {object{"exp": now - 31}, "expired"},
		"expired within skew":  {object{"exp": now - 20}, "<nil>"},
		"long expired":         {object{"exp": 0}, "expired"},
		"not yet":              {object{"nbf": now + 40}, "not_yet_valid"},
		"not yet within skew":  {object{"nbf": now + 20}, "<nil>"},
		"issued later":         {object{"iat": now + 40}, "not_yet_valid"},
		"issued within skew":   {object{"iat": now + 20}, "<nil>"},
		"fractions":            {object{"exp": float64(now) + 60.5, "iat": float64(now) - .25}, "<nil>"},
		"lives too long":       {object{"exp": now + 25*3600}, "too_long_lived"},
		"no iat, too long":     {object{"iat": nil, "exp": now + 25*3600}, "too_long_lived"},
		"issued long ago":      {object{"iat": now - 24*3600, "exp": now + 3600}, "too_long_lived"},
		"exp a string":         {object{"exp": "99999999999"}, "malformed"},
		"exp null":             {object{"exp": []any(nil)}, "malformed"},
		"exp negative":         {object{"exp": -1}, "malformed"},
		"exp huge":             {object{"exp": 1e300}, "malformed"},
		"exp after 9999":       {object{"exp": 253402300800}, "malformed"},
		"nbf a string":         {object{"nbf": "0"}, "malformed"},
		"iat an array":         {object{"iat": []int{1}}, "malformed"},
		"another audience":     {object{"aud": "ratings"}, "wrong_audience"},
		"audiences":            {object{"aud": []string{"ratings", audience}}, "<nil>"},
		"other audiences":      {object{"aud": []string{"ratings", "details"}}, "wrong_audience"},
		"no audiences":         {object{"aud": []string{}}, "wrong_audience"},
		"empty audience":       {object{"aud": ""}, "wrong_audience"},
		"audience in part":     {object{"aud": audience + "2"}, "wrong_audience"},
		"audience in capitals": {object{"aud": "Reviews"}, "wrong_audience"},
		"audience nested":      {object{"aud": [][]string{{audience}}}, "malformed"},
		"audience and number":  {object{"aud": []any{audience, 1}}, "malformed"},
		"audience an object":   {object{"aud": object{audience: audience}}, "malformed"},
		"another issuer":       {object{"iss": "https://issuer.example/"}, "unknown_issuer"},
		"issuer alike":         {object{"iss": "https://issuer.ex\u0430mple"}, "unknown_issuer"},
		"issuers":              {object{"iss": []string{issuerName}}, "malformed"},
		"sub a number":         {object{"sub": 1}, "malformed"},
		"sub empty":            {object{"sub": ""}, "malformed"},
		"bound to a key":       {object{"cnf": object{"jkt": "x"}}, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, static(jwk(edKey(), object{"kid": "k"})))
			_, err := v.Verify(t.Context(), token(edKey(), "EdDSA", "k", c.claims))
			assert.Equal(t, c.want, kindOf(err), "%v", err)
		})
	}
}

func TestDatesThatAreNoNumbers(t *testing.T) {
	v := verifier(t, static(jwk(edKey(), object{"kid": "k"})))
	for text, want := range map[string]string{
		`1e400`: "malformed", `-1e400`: "malformed", `NaN`: "malformed", `Infinity`: "malformed", `0x7fffffff`: "malformed",
		`99999999999999999999999`: "malformed", `1_000`: "malformed", `0e0`: "expired", `1e-400`: "expired", `true`: "malformed", `-0`: "expired",
	} {
		c := `{"iss":"` + issuerName + `","aud":"reviews","sub":"a","exp":` + text + `}`
		_, err := v.Verify(t.Context(), compact(edKey(), "EdDSA", `{"alg":"EdDSA","kid":"k"}`, c))
		assert.Equal(t, want, kindOf(err), text)
	}
}

func TestTypes(t *testing.T) {
	with := func(typ string) string {
		header := `{"alg":"EdDSA","kid":"k"` + typ + `}`
		return compact(edKey(), "EdDSA", header, `{"iss":"`+issuerName+`","aud":"reviews","exp":`+
			unix(time.Now().Add(time.Hour))+`}`)
	}
	for typ, want := range map[string][2]string{
		``:                                   {"<nil>", "wrong_type"},
		`,"typ":"JWT"`:                       {"<nil>", "wrong_type"},
		`,"typ":"jwt"`:                       {"<nil>", "wrong_type"},
		`,"typ":"at+jwt"`:                    {"<nil>", "<nil>"},
		`,"typ":"AT+JWT"`:                    {"<nil>", "<nil>"},
		`,"typ":"application/at+jwt"`:        {"<nil>", "<nil>"},
		`,"typ":"Application/At+Jwt"`:        {"<nil>", "<nil>"},
		`,"typ":"logout+jwt"`:                {"wrong_type", "wrong_type"},
		`,"typ":"dpop+jwt"`:                  {"wrong_type", "wrong_type"},
		`,"typ":"application/x/at+jwt"`:      {"wrong_type", "wrong_type"},
		`,"typ":"text/at+jwt"`:               {"wrong_type", "wrong_type"},
		`,"typ":"application/"`:              {"wrong_type", "wrong_type"},
		`,"typ":""`:                          {"malformed", "malformed"},
		`,"typ":null`:                        {"malformed", "malformed"},
		`,"typ":["JWT"]`:                     {"malformed", "malformed"},
		`,"typ":"JWT\u0000"`:                 {"wrong_type", "wrong_type"},
		`,"typ":"at+jwt","typ":"logout+jwt"`: {"malformed", "malformed"},
	} {
		p := static(jwk(edKey(), object{"kid": "k"}))
		_, err := verifier(t, p).Verify(t.Context(), with(typ))
		assert.Equal(t, want[0], kindOf(err), "by default: %s", typ)
		p.Issuers[0].Types = []string{"at+jwt"}
		_, err = verifier(t, p).Verify(t.Context(), with(typ))
		assert.Equal(t, want[1], kindOf(err), "access tokens: %s", typ)
	}
}

// Keys count for their own issuer only, and each issuer has its own terms.
func TestIssuersAreApart(t *testing.T) {
	const other = "https://other.example"
	p := static(jwk(edKey(), object{"kid": "k"}))
	p.Issuers = append(p.Issuers, authn.Issuer{
		Issuer: other, Audiences: []string{"others"}, Algorithms: []string{"ES256"}, JWKS: jwks(jwk(ecKey(), object{"kid": "k"})),
	})
	v := verifier(t, p)
	for name, c := range map[string]struct {
		token string
		want  string
	}{
		"first":              {token(edKey(), "EdDSA", "k", nil), "<nil>"},
		"second":             {token(ecKey(), "ES256", "k", object{"iss": other, "aud": "others"}), "<nil>"},
		"key of the first":   {token(edKey(), "EdDSA", "k", object{"iss": other, "aud": "others"}), "wrong_algorithm"},
		"key of the second":  {token(ecKey(), "ES256", "k", nil), "wrong_algorithm"},
		"audience of first":  {token(ecKey(), "ES256", "k", object{"iss": other}), "wrong_audience"},
		"audience of second": {token(edKey(), "EdDSA", "k", object{"aud": "others"}), "wrong_audience"},
	} {
		_, err := v.Verify(t.Context(), c.token)
		assert.Equal(t, c.want, kindOf(err), name)
	}
	// Were algorithms alike, only the key would tell.
	p.Issuers[1] = authn.Issuer{Issuer: other, Audiences: []string{audience}, JWKS: jwks(jwk(edOther(), object{"kid": "k"}))}
	_, err := verifier(t, p).Verify(t.Context(), token(edKey(), "EdDSA", "k", object{"iss": other}))
	assert.Equal(t, "bad_signature", kindOf(err))
}

func TestKeyChoice(t *testing.T) {
	for name, c := range map[string]struct {
		keys  []object
		token string
		want  string
	}{
		"by kid":               {[]object{jwk(edOther(), object{"kid": "a"}), jwk(edKey(), object{"kid": "b"})}, token(edKey(), "EdDSA", "b", nil), "<nil>"},
		"never the next":       {[]object{jwk(edOther(), object{"kid": "a"}), jwk(edKey(), object{"kid": "b"})}, token(edKey(), "EdDSA", "a", nil), "bad_signature"},
		"unknown kid":          {[]object{jwk(edKey(), object{"kid": "a"})}, token(edKey(), "EdDSA", "b", nil), "unknown_key"},
		"no kid, one key":      {[]object{jwk(edKey(), object{"kid": "a"}), jwk(ecKey(), object{"kid": "b"})}, token(edKey(), "EdDSA", "", nil), "<nil>"},
		"no kid, two keys":     {[]object{jwk(edKey(), object{"kid": "a"}), jwk(edOther(), object{"kid": "b"})}, token(edKey(), "EdDSA", "", nil), "malformed"},
		"nameless key":         {[]object{jwk(edKey(), nil)}, token(edKey(), "EdDSA", "b", nil), "<nil>"},
		"two nameless keys":    {[]object{jwk(edKey(), nil), jwk(edOther(), nil)}, token(edKey(), "EdDSA", "b", nil), "malformed"},
		"kid of another alg":   {[]object{jwk(edKey(), object{"kid": "a"}), jwk(ecKey(), object{"kid": "b"})}, token(edKey(), "EdDSA", "b", nil), "wrong_algorithm"},
		"path for a kid":       {[]object{jwk(edKey(), object{"kid": "a"})}, token(edKey(), "EdDSA", "../../../dev/null", nil), "unknown_key"},
		"query for a kid":      {[]object{jwk(edKey(), object{"kid": "a"})}, token(edKey(), "EdDSA", "a' OR '1'='1", nil), "unknown_key"},
		"long kid":             {[]object{jwk(edKey(), object{"kid": "a"})}, token(edKey(), "EdDSA", strings.Repeat("a", 257), nil), "malformed"},
		"RSA key without alg":  {[]object{jwk(rsaKey(), object{"kid": "a"})}, token(rsaKey(), "RS256", "a", nil), "<nil>"},
		"RSA key, another alg": {[]object{jwk(rsaKey(), object{"kid": "a"})}, token(rsaKey(), "PS256", "a", nil), "wrong_algorithm"},
		"RSA key that says":    {[]object{jwk(rsaKey(), object{"kid": "a", "alg": "PS256"})}, token(rsaKey(), "RS256", "a", nil), "wrong_algorithm"},
		"RSA key that said":    {[]object{jwk(rsaKey(), object{"kid": "a", "alg": "PS256"})}, token(rsaKey(), "PS256", "a", nil), "<nil>"},
		"algorithm not listed": {[]object{jwk(ec384(), object{"kid": "a"})}, token(ec384(), "ES384", "a", nil), "wrong_algorithm"},
	} {
		p := static(c.keys...)
		p.Issuers[0].Algorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}
		_, err := verifier(t, p).Verify(t.Context(), c.token)
		assert.Equal(t, c.want, kindOf(err), "%s: %v", name, err)
	}
}

func TestStaticPEM(t *testing.T) {
	block := func(typ string, b []byte) string { return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: b})) }
	pub := func(s crypto.Signer) string { return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(s.Public()))) }
	p := static()
	p.Issuers[0].JWKS = pub(edKey()) + "\n" + pub(ecKey())
	v := verifier(t, p)
	for alg, key := range map[string]crypto.Signer{"EdDSA": edKey(), "ES256": ecKey()} {
		_, err := v.Verify(t.Context(), token(key, alg, "any", nil))
		require.NoError(t, err)
	}
	for text, want := range map[string]string{
		block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey()))): "private",
		pub(edKey()) + "rest":                    "no PEM block",
		block("PUBLIC KEY", []byte("x")):         "asn1",
		block("DH PARAMETERS", []byte("x")):      "no public key",
		"-----BEGIN PUBLIC KEY-----\n":           "no PEM block",
		`{"keys":[]}`:                            "no key to verify with",
		jwks(object{"kty": "oct", "k": "AAAA"}):  "private or a secret",
		jwks(jwk(edKey(), object{"x": "AAAA"})):  "Ed25519",
		jwks(jwk(edKey(), object{"use": "enc"})): "no key to verify with",
	} {
		p.Issuers[0].JWKS = text
		assert.ErrorContains(t, p.Validate(), want)
		assert.ErrorContains(t, p.Validate(), "issuers[0].jwks: ")
	}
}

func TestScopes(t *testing.T) {
	p := static(jwk(edKey(), object{"kid": "k"}))
	p.Scopes = []string{"read", "write"}
	v := verifier(t, p)
	for _, c := range []object{{"scope": "write other read"}, {"scp": []string{"read", "write"}}, {"scope": "read", "scp": "write"}} {
		_, err := v.Verify(t.Context(), token(edKey(), "EdDSA", "k", c))
		assert.NoError(t, err)
	}
	for _, c := range []object{nil, {"scope": "read"}, {"scope": "readwrite"}, {"scope": "read,write"}, {"scopes": "read write"}, {"scope": object{"read": 1, "write": 1}}} {
		_, err := v.Verify(t.Context(), token(edKey(), "EdDSA", "k", c))
		refused, ok := errors.AsType[*authn.Error](err)
		require.True(t, ok, "%v", c)
		assert.Equal(t, authn.InsufficientScope, refused.Kind)
		assert.Equal(t, http.StatusForbidden, refused.Status())
		assert.Equal(t, `Bearer realm="restricted", error="insufficient_scope", error_description="the token lacks a scope", scope="read write"`, refused.Challenge())
	}
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := static(jwk(edKey(), object{"kid": "k"}))
		for _, entries := range []int{0, -1} {
			p.CacheEntries = entries
			v := verifier(t, p)
			good := token(edKey(), "EdDSA", "k", nil)
			for range 3 {
				_, err := v.Verify(t.Context(), good)
				require.NoError(t, err)
				time.Sleep(20 * time.Minute)
			}
			// An hour has passed, and the skew has not.
			time.Sleep(29 * time.Second)
			got, err := v.Verify(t.Context(), good)
			require.NoError(t, err)
			assert.True(t, got.Expires.Before(time.Now()))
			time.Sleep(time.Second)
			_, err = v.Verify(t.Context(), good)
			assert.Equal(t, "expired", kindOf(err), "cache of %d entries", entries)
		}
	})
}

func TestObserve(t *testing.T) {
	p := static(jwk(edKey(), object{"kid": "k"}))
	p.Mode, p.Strip, p.ClaimHeaders = outcome.Observe, true, map[string]string{"X-User": "sub"}
	v := verifier(t, p)
	served := 0
	h := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		_, ok := identity.FromContext(r.Context())
		assert.False(t, ok)
		_, ok = identity.ClaimsFrom(r.Context())
		assert.False(t, ok)
		assert.Equal(t, "forged", r.Header.Get("X-User"))
	}))
	for _, field := range []string{"", "Bearer x", "Bearer " + token(edKey(), "EdDSA", "k", nil)} {
		for range 2 {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-User", "forged")
			if field != "" {
				r.Header.Set("Authorization", field)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			assert.Equal(t, field, r.Header.Get("Authorization"))
		}
	}
	assert.Equal(t, 6, served)
	s := v.Stats()
	assert.Equal(t, map[authn.Kind]uint64{authn.Missing: 2, authn.Malformed: 2}, s.Refused)
	assert.EqualValues(t, 1, s.Verified)
	assert.EqualValues(t, 1, s.Cached)
	got, err := v.Verify(t.Context(), token(edKey(), "EdDSA", "k", nil))
	require.NoError(t, err)
	assert.True(t, got.IsZero(), "nobody is to be called by a name that would not be enforced")
	// Under Enforce the same requests would be told apart.
	p.Mode = outcome.Enforce
	got, err = verifier(t, p).Verify(t.Context(), token(edKey(), "EdDSA", "k", nil))
	require.NoError(t, err)
	assert.False(t, got.IsZero())
}
