package authn_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/identity"
)

func Example() {
	// An issuer: what it signs with, and what it publishes of that.
	seed := make([]byte, ed25519.SeedSize)
	private := ed25519.NewKeyFromSeed(seed)
	encode := base64.RawURLEncoding.EncodeToString
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "OKP", "crv": "Ed25519", "kid": "2026-11", "x": encode(private.Public().(ed25519.PublicKey)),
		}}})
	}))
	defer issuer.Close()
	issue := func(claims map[string]any) string {
		payload, _ := json.Marshal(claims)
		signed := encode([]byte(`{"alg":"EdDSA","kid":"2026-11","typ":"at+jwt"}`)) + "." + encode(payload)
		return signed + "." + encode(ed25519.Sign(private, []byte(signed)))
	}

	// A server that wants its tokens.
	tokens, err := authn.New(authn.Policy{
		Issuers: []authn.Issuer{{
			Issuer:    "https://issuer.example",
			Audiences: []string{"reviews"},
			JWKSURL:   issuer.URL,
			PlainHTTP: true, // of this machine only
		}},
	}, authn.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tokens.Close()
	reviews := httptest.NewServer(tokens.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := identity.FromContext(r.Context())
		claims, _ := identity.ClaimsFrom(r.Context())
		fmt.Fprintf(w, "hello, %v of %v", caller, claims.Strings("groups"))
	})))
	defer reviews.Close()

	ask := func(token string) {
		req, _ := http.NewRequest("GET", reviews.URL, nil)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := reviews.Client().Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(resp.Status, string(body))
		if c := resp.Header.Get("WWW-Authenticate"); c != "" {
			fmt.Println(c)
		}
	}
	claims := map[string]any{
		"iss": "https://issuer.example", "aud": "reviews", "sub": "alice", "groups": []string{"staff"},
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	ask(issue(claims))
	ask("")
	claims["exp"] = time.Now().Add(-time.Hour).Unix()
	ask(issue(claims))
	// Output:
	// 200 OK hello, alice of [staff]
	// 401 Unauthorized {"type":"about:blank","title":"Unauthorized","status":401,"detail":"a bearer token is required"}
	// Bearer realm="restricted"
	// 401 Unauthorized {"type":"about:blank","title":"Unauthorized","status":401,"detail":"the token has expired"}
	// Bearer realm="restricted", error="invalid_token", error_description="the token has expired"
}
