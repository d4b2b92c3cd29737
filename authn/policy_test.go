package authn_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/authn"
)

func TestEveryFaultIsReported(t *testing.T) {
	var nothing *http.Transport
	err := authn.Policy{
		Mode: 7, Scopes: []string{"a", "b c"}, Header: "X Y", Skew: time.Hour, MaxToken: 1, CacheEntries: 1 << 30, CacheBytes: -1,
		Realm: "a\nb", ClaimHeaders: map[string]string{"X-A": "", "X B": "sub", "Host": "sub"},
		Issuers: []authn.Issuer{
			{},
			{Issuer: "i", Audiences: []string{""}, JWKSURL: "http://idp.example/jwks", Algorithms: []string{"none", "HS256", "ES256", "ES256", "EdDSA", "Ed25519"}},
			{Issuer: "i", JWKSURL: "http://idp.example/jwks", PlainHTTP: true, Transport: nothing, Types: []string{"application/at+jwt"}, MaxLifetime: -1},
			{Issuer: "j", JWKSURL: "https://user:password@%zz/", JWKS: "{}", Algorithms: []string{}, Types: []string{}},
			{Issuer: "k", JWKSURL: "https://user:password@%zz/"},
			{Issuer: "l", JWKSURL: "ftp://user:password@idp.example/?key=password"},
			{Issuer: "m", JWKS: "{}"},
			{Issuer: "n", JWKSURL: "https://idp.example/", Transport: valueTransport{}},
		},
	}.Validate()
	require.Error(t, err)
	for _, want := range []string{
		"mode: 7", `scopes[1]: "b c"`, `header: "X Y"`, "skew: 1h0m0s exceeds", "maxToken: 1 is not", "cacheEntries: ", "cacheBytes: -1", "realm: ",
		`claimHeaders["X-A"]: no claim`, `claimHeaders["X B"]: is no name`, `claimHeaders["Host"]: the field is taken`,
		"issuers[0].issuer: is required", "issuers[0].audiences: at least one", "issuers[0].jwks, jwksUrl: neither",
		"issuers[1].audiences[0]: is empty", "issuers[1].jwksUrl: http://idp.example/jwks is not https",
		`issuers[1].algorithms[0]: "none" is none of RS256, `, `issuers[1].algorithms[1]: "HS256"`, "issuers[1].algorithms[3]: ES256 is listed twice",
		"issuers[1].algorithms[5]: Ed25519 is listed twice",
		"issuers[2].issuer: i is listed twice", "issuers[2].jwksUrl: http://idp.example/jwks is not https, and not on this machine",
		"issuers[2].transport: is a nil *http.Transport", `issuers[2].types[0]: write "at+jwt"`, "issuers[2].maxLifetime: -1ns",
		"issuers[3].jwks: excludes jwksUrl", "issuers[3].algorithms: there is none", "issuers[3].types: there is none",
		"issuers[4].jwksUrl: is no URL", "issuers[5].jwksUrl: ftp://idp.example/ is not of the form", "issuers[6].jwks: it has no array of keys",
		"issuers[7].transport: a authn_test.valueTransport cannot be compared",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "password")
	assert.ErrorContains(t, authn.Policy{}.Validate(), "issuers: there is none")
	p := static(named(edKey(), "k"))
	p.Header, p.ClaimHeaders = "X-Token", map[string]string{"x_token": "sub"}
	assert.ErrorContains(t, p.Validate(), `claimHeaders["x_token"]: the field is taken`)
	_, err = authn.New(authn.Policy{}, authn.Options{})
	assert.Error(t, err)
}

type valueTransport struct{ _ []int }

func (valueTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, http.ErrNotSupported
}

func TestEffective(t *testing.T) {
	p := static(named(edKey(), "k")).Effective()
	assert.Equal(t, "Authorization", p.Header)
	assert.Equal(t, "restricted", p.Realm)
	assert.Equal(t, 30*time.Second, p.Skew)
	assert.Equal(t, 8192, p.MaxToken)
	assert.Equal(t, 4096, p.CacheEntries)
	assert.EqualValues(t, 16<<20, p.CacheBytes)
	assert.Equal(t, []string{"RS256", "ES256", "EdDSA"}, p.Issuers[0].Algorithms)
	assert.Equal(t, []string{"JWT", "at+jwt", ""}, p.Issuers[0].Types)
	assert.Equal(t, 24*time.Hour, p.Issuers[0].MaxLifetime)
	assert.Equal(t, p, p.Effective())
	require.NoError(t, p.Validate())
}

// What a caller does to its Policy after New changes nothing.
func TestPolicyIsCopied(t *testing.T) {
	p := static(named(edKey(), "k"))
	p.Scopes, p.ClaimHeaders = []string{"read"}, map[string]string{"X-User": "sub"}
	p.Issuers[0].Algorithms, p.Issuers[0].Types = []string{"EdDSA"}, []string{"JWT"}
	v := verifier(t, p)
	p.Scopes[0], p.ClaimHeaders["X-User"] = "write", "iss"
	i := &p.Issuers[0]
	i.Audiences[0], i.Algorithms[0], i.Types[0] = "other", "ES256", "x"
	i.Issuer = "other"
	got, err := v.Verify(t.Context(), token(edKey(), "EdDSA", "k", object{"scope": "read"}))
	require.NoError(t, err)
	assert.Equal(t, "alice", v.Attach(request(), got).Header.Get("X-User"))
}

func TestLimits(t *testing.T) {
	p := static(named(edKey(), "k"))
	now := time.Now().Unix()
	p.Skew, p.MaxToken, p.Issuers[0].MaxLifetime = -1, 256, time.Minute
	v := verifier(t, p)
	assert.Equal(t, "malformed", verify(t, v, ed("k")), "it is longer than 256 bytes")
	p.MaxToken = 512
	v = verifier(t, p)
	assert.Equal(t, "<nil>", verify(t, v, token(edKey(), "EdDSA", "k", object{"iat": now, "exp": now + 60})))
	assert.Equal(t, "too_long_lived", verify(t, v, token(edKey(), "EdDSA", "k", object{"iat": now - 1, "exp": now + 60})))
	assert.Equal(t, "expired", verify(t, v, token(edKey(), "EdDSA", "k", object{"iat": now - 30, "exp": now - 1})))
	assert.Equal(t, "not_yet_valid", verify(t, v, token(edKey(), "EdDSA", "k", object{"iat": now + 5, "exp": now + 60})))
}

// Without TLS a key set is fetched from this machine alone, whatever
// localhost leads to; over TLS the certificate must be good.
func TestWhereKeySetsAreFetched(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(jwks(named(edKey(), "k")))) })
	plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // a client will leave, as it should
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	issuer := authn.Issuer{Issuer: issuerName, Audiences: []string{audience}, JWKSURL: plain.URL}
	assert.ErrorContains(t, authn.Policy{Issuers: []authn.Issuer{issuer}}.Validate(), "not https")
	issuer.PlainHTTP = true
	assert.Equal(t, "<nil>", verify(t, verifier(t, authn.Policy{Issuers: []authn.Issuer{issuer}}), ed("k")))
	issuer.JWKSURL = secure.URL
	assert.Equal(t, "keys_unavailable", verify(t, verifier(t, authn.Policy{Issuers: []authn.Issuer{issuer}}), ed("k")))
	issuer.Transport = secure.Client().Transport
	assert.Equal(t, "<nil>", verify(t, verifier(t, authn.Policy{Issuers: []authn.Issuer{issuer}}), ed("k")))
}
