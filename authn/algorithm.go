package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"strings"
)

// Bounds of RSA keys, in bits. RFC 7518, section 3.3: "A key of size 2048
// bits or larger MUST be used"; verifying takes ever longer with longer ones.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// The names of algorithms known. None of them is symmetric.
var algorithms = [...]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// algorithmNames lists them for texts.
func algorithmNames() string {
	var b strings.Builder
	for i, name := range algorithms {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name)
	}
	return b.String()
}

// canonical returns the name under which an algorithm is known here, "" if it
// is not. RFC 9864 has renamed the one use of EdDSA that there is here.
func canonical(name string) string {
	if name == "Ed25519" {
		return "EdDSA"
	}
	for _, known := range algorithms {
		if name == known {
			return known
		}
	}
	return ""
}

// ofRSA tells the algorithms that an RSA key can be used with.
func ofRSA(algorithm string) bool {
	return algorithm != "" && (algorithm[0] == 'R' || algorithm[0] == 'P')
}

// algorithmOf returns the one algorithm that a key is for. An RSA key fits
// several: "" stands for those.
func algorithmOf(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		switch bits := k.N.BitLen(); {
		case bits < minRSABits:
			return "", fmt.Errorf("an RSA key of %d bits is too weak, %d are the least", bits, minRSABits)
		case bits > maxRSABits:
			return "", fmt.Errorf("an RSA key of %d bits is too long, %d are the most", bits, maxRSABits)
		case k.E < 3 || k.E%2 == 0:
			return "", fmt.Errorf("%d is no exponent of an RSA key", k.E)
		}
		return "", nil
	case *ecdsa.PublicKey:
		// What is not on its curve has no encoding.
		if _, err := k.Bytes(); err != nil {
			return "", err
		}
		switch k.Curve {
		case elliptic.P256():
			return "ES256", nil
		case elliptic.P384():
			return "ES384", nil
		case elliptic.P521():
			return "ES512", nil
		}
		return "", fmt.Errorf("no algorithm for keys of the curve %s", k.Curve.Params().Name)
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return "", fmt.Errorf("an Ed25519 key of %d bytes", len(k))
		}
		return "EdDSA", nil
	}
	return "", fmt.Errorf("no algorithm for a %T", public)
}
