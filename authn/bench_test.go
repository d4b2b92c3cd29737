package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// userClaims are about what issuers put into access tokens: some 900 bytes in
// all with RS256.
func userClaims() object {
	return object{
		"sub": "auth0|5f7c8ec7c33c6c004bbafe82", "azp": "my_client_id", "scope": "openid profile read:reviews write:reviews",
		"jti": "3f1b6c1e-8d9c-4a58-9d7b-0b9a6d3f1c11", "email": "alice@example.com", "email_verified": true,
		"groups": []string{"staff", "reviewers", "eu-west"}, "tenant": object{"id": "4711", "plan": "gold"},
	}
}

// BenchmarkVerify is a token that has not been seen before, of some 900 bytes
// with RS256. It reports how many times as long that takes as what the standard
// library's verification of its signature takes: the ratio of the medians of
// turns about, so that a busy machine disturbs both alike.
func BenchmarkVerify(b *testing.B) {
	keys := map[string]crypto.Signer{"RS256": rsaKey(), "ES256": ecKey(), "EdDSA": edKey()}
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			p := static(named(rsaOther(), "1"), named(ecOther(), "2"), named(edOther(), "3"), named(keys[alg], "k"))
			p.CacheEntries = -1
			v := verifier(b, p)
			text := token(keys[alg], alg, "k", userClaims())
			at := strings.LastIndexByte(text, '.')
			signed, sig := []byte(text[:at]), must(decode(text[at+1:]))
			var whole, raw []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				if _, err := v.Verify(b.Context(), text); err != nil {
					b.Fatal(err)
				}
				whole = append(whole, time.Since(start))
				b.StopTimer()
				start = time.Now()
				if !verifies(keys[alg].Public(), signed, sig) {
					b.Fatal("no signature")
				}
				raw = append(raw, time.Since(start))
				b.StartTimer()
			}
			slices.Sort(whole)
			slices.Sort(raw)
			b.ReportMetric(float64(whole[len(whole)/2])/float64(raw[len(raw)/2]), "x-signature")
			b.ReportMetric(float64(raw[len(raw)/2]), "ns-signature")
		})
	}
}

// verifies is what the standard library does with SHA-256 for a signature.
func verifies(public crypto.PublicKey, signed, sig []byte) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		digest := sha256.Sum256(signed)
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], sig) == nil
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(signed)
		return ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	case ed25519.PublicKey:
		return ed25519.Verify(k, signed, sig)
	}
	return false
}

// BenchmarkCached is a token that has been verified before, of about 900 bytes.
func BenchmarkCached(b *testing.B) {
	v := verifier(b, static(named(rsaKey(), "k")))
	r := request("Authorization", "Bearer "+token(rsaKey(), "RS256", "k", userClaims()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCachedParallel(b *testing.B) {
	v := verifier(b, static(named(rsaKey(), "k")))
	r := request("Authorization", "Bearer "+token(rsaKey(), "RS256", "k", userClaims()))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := v.Authenticate(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRefused is what a token costs that is none.
func BenchmarkRefused(b *testing.B) {
	v := verifier(b, static(named(edKey(), "k")))
	for name, text := range map[string]string{"no parts": strings.Repeat("x", 900), "another issuer": token(edKey(), "EdDSA", "k", object{"iss": "x"})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), text); err == nil {
					b.Fatal("it is accepted")
				}
			}
		})
	}
}
