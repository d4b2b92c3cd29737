package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle"
)

const (
	// issuerName and audience are the claims iss and aud of tokens.
	issuerName = "https://issuer.bookinfo.example"
	audience   = "bookinfo"
	// keyID names the issuer's key.
	keyID = "2026-11"
)

// issuer makes tokens, and publishes the key with which they are verified. It
// is safe for concurrent use.
type issuer struct {
	url     string
	private ed25519.PrivateKey
	server  *http.Server
}

// openIssuer returns an issuer that listens until it is closed.
func openIssuer() (*issuer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	keys := map[string]any{"keys": []map[string]string{{
		"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": keyID, "x": base64.RawURLEncoding.EncodeToString(public),
	}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { answer(w, keys) })
	i := &issuer{
		url: "http://" + l.Addr().String() + "/keys", private: private,
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
	// It ends with close and has nothing else to say.
	go func() { _ = i.server.Serve(l) }()
	return i, nil
}

func (i *issuer) close() { _ = i.server.Close() }

// publish fills in where the keys of this issuer are found.
func (i *issuer) publish(g tulle.Guard) *tulle.Guard {
	if g.Authn != nil {
		policy := *g.Authn
		policy.Issuers = append(policy.Issuers[:0:0], policy.Issuers...)
		for n := range policy.Issuers {
			if policy.Issuers[n].Issuer == issuerName {
				policy.Issuers[n].JWKSURL, policy.Issuers[n].PlainHTTP = i.url, true
			}
		}
		g.Authn = &policy
	}
	return &g
}

// token returns one for a user that ends at a time, with a role unless that is
// empty.
func (i *issuer) token(user, role string, ends time.Time) string {
	return sign(i.private, "EdDSA", user, role, ends)
}

// foreign returns a token that says the same, signed with the key of somebody
// else.
func foreign(user string, ends time.Time) string {
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:])
	return sign(ed25519.NewKeyFromSeed(seed[:]), "EdDSA", user, "", ends)
}

// unsigned returns a token that says the same and that nobody has signed.
func unsigned(user string, ends time.Time) string { return sign(nil, "none", user, "", ends) }

// sign makes a token (RFC 7515, 3.1), without a signature if there is no key.
func sign(key ed25519.PrivateKey, algorithm, user, role string, ends time.Time) string {
	claims := map[string]any{
		"iss": issuerName, "aud": audience, "sub": user, "iat": ends.Add(-time.Hour).Unix(), "exp": ends.Unix(),
	}
	if role != "" {
		claims["role"] = role
	}
	text := part(map[string]string{"alg": algorithm, "typ": "JWT", "kid": keyID}) + "." + part(claims)
	if key == nil {
		return text + "."
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// part returns a part of a token.
func part(v any) string {
	// Maps of strings and numbers have a JSON form.
	text, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text)
}
