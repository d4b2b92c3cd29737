package authn

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// This file alone knows the library of JOSE. It is asked for three things:
// a public key out of the members of a JWK, the thumbprint of a key, and
// whether a signature is one. What is a token, which key counts and what a
// set of keys may hold is decided elsewhere.

// checker verifies signatures of one algorithm. It is safe for concurrent use.
type checker func(public crypto.PublicKey, signed, signature []byte) error

// newChecker returns the checker of an algorithm of RFC 7518.
func newChecker(algorithm string) (checker, error) {
	v, err := jws.NewVerifier(jwa.SignatureAlgorithm(algorithm))
	if err != nil {
		return nil, err
	}
	return func(public crypto.PublicKey, signed, signature []byte) error {
		return v.Verify(signed, signature, public)
	}, nil
}

// publicKey makes a key of the members of a JWK that define it, and no others.
func publicKey(members map[string]string) (crypto.PublicKey, error) {
	text, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	k, err := jwk.ParseKey(text)
	if err != nil {
		return nil, err
	}
	var public any
	if err := k.Raw(&public); err != nil {
		return nil, err
	}
	return public, nil
}

// thumbprint returns the thumbprint of RFC 7638, with SHA-256, in base64url.
func thumbprint(public crypto.PublicKey) (string, error) {
	k, err := jwk.FromRaw(public)
	if err != nil {
		return "", fmt.Errorf("no JWK: %w", err)
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
