package authn_test

import (
	"encoding/json"
	"testing"
	"time"
)

// What is signed may still be nonsense: no claims lead to a panic, and none
// are accepted that lack what is required.
func FuzzClaims(f *testing.F) {
	v := verifier(f, static(named(edKey(), "k")))
	for _, c := range []object{nil, {"exp": nil}, {"aud": []string{}}, {"exp": 1e300}, {"nbf": -1}, {"cnf": object{}}, {"sub": 1}, {"iat": .5}} {
		f.Add(string(must(json.Marshal(claims(c)))))
	}
	f.Add(`{"iss":"https://issuer.example","aud":["reviews",1],"exp":1e18}`)
	f.Add(`{"iss":"https://issuer.example","aud":"reviews","exp":99999999999999999999999999}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := v.Verify(t.Context(), compact(edKey(), "EdDSA", `{"alg":"EdDSA","kid":"k"}`, text))
		if err != nil {
			return
		}
		var c struct {
			Iss string
			Exp float64
			Aud any
		}
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatalf("%q is accepted, though: %v", text, err)
		}
		if got.Principal.Issuer != issuerName || c.Aud == nil || got.Expires.Before(time.Now().Add(-31*time.Second)) {
			t.Fatalf("%q is accepted as %v", text, got)
		}
	})
}
