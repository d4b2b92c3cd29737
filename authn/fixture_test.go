package authn_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/internal/memnet"
)

const (
	issuerName = "https://issuer.example"
	audience   = "reviews"
	jwksURL    = "http://127.0.0.1:8080/jwks.json"
)

// Keys take long to make, so tests share them; nobody changes one.
var (
	rsaKey    = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaOther  = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey     = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ecOther   = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ec384     = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	ec521     = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey     = sync.OnceValue(newEd)
	edOther   = sync.OnceValue(newEd)
	algHashes = map[string]crypto.Hash{
		"RS256": crypto.SHA256, "RS384": crypto.SHA384, "RS512": crypto.SHA512,
		"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512,
		"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512, "EdDSA": 0, "Ed25519": 0,
	}
)

func newEd() crypto.Signer {
	_, private := must2(ed25519.GenerateKey(rand.Reader))
	return private
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[T, U any](t T, u U, err error) (T, U) {
	if err != nil {
		panic(err)
	}
	return t, u
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type object = map[string]any

// jwk returns the public key of s as a JWK, with more members or others.
func jwk(s crypto.Signer, more object) object {
	var k object
	switch p := s.Public().(type) {
	case *rsa.PublicKey:
		k = object{"kty": "RSA", "n": b64(p.N.Bytes()), "e": b64(big.NewInt(int64(p.E)).Bytes())}
	case *ecdsa.PublicKey:
		point := must(p.Bytes())[1:]
		k = object{"kty": "EC", "crv": p.Curve.Params().Name, "x": b64(point[:len(point)/2]), "y": b64(point[len(point)/2:])}
	case ed25519.PublicKey:
		k = object{"kty": "OKP", "crv": "Ed25519", "x": b64(p)}
	}
	maps.Copy(k, more)
	return k
}

func jwks(keys ...object) string {
	if keys == nil {
		keys = []object{}
	}
	return string(must(json.Marshal(object{"keys": keys})))
}

// signature signs with what is in the standard library, so that what verifies
// is not held against itself.
func signature(s crypto.Signer, alg, signed string) []byte {
	hash, digest := algHashes[alg], []byte(signed)
	switch _, ed := s.(ed25519.PrivateKey); {
	case ed:
		hash = 0 // whatever is claimed
	case hash == 0:
		hash = crypto.SHA256
	}
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	switch private := s.(type) {
	case *ecdsa.PrivateKey:
		r, sig := must2(ecdsa.Sign(rand.Reader, private, digest))
		n := (private.Curve.Params().BitSize + 7) / 8
		out := make([]byte, 2*n)
		r.FillBytes(out[:n])
		sig.FillBytes(out[n:])
		return out
	case *rsa.PrivateKey:
		if alg[0] == 'P' {
			return must(s.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}))
		}
	}
	return must(s.Sign(rand.Reader, digest, hash))
}

// compact signs the texts of a header and of claims, whatever they are.
func compact(s crypto.Signer, alg, header, claims string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	return signed + "." + b64(signature(s, alg, signed))
}

// claims are good ones, with more members or others; nil takes one away.
func claims(more object) object {
	c := object{
		"iss": issuerName, "aud": audience, "sub": "alice", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, v := range more {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

func token(s crypto.Signer, alg, kid string, more object) string {
	header := object{"alg": alg, "typ": "JWT"}
	if kid != "" {
		header["kid"] = kid
	}
	return compact(s, alg, string(must(json.Marshal(header))), string(must(json.Marshal(claims(more)))))
}

// static is a policy with one issuer and these keys.
func static(keys ...object) authn.Policy {
	return authn.Policy{Issuers: []authn.Issuer{{Issuer: issuerName, Audiences: []string{audience}, JWKS: jwks(keys...)}}}
}

func verifier(t testing.TB, p authn.Policy) *authn.Verifier {
	t.Helper()
	v, err := authn.New(p, authn.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

func kindOf(err error) string {
	if e, ok := err.(*authn.Error); ok {
		return e.Kind.String()
	}
	return fmt.Sprint(err)
}

// server is an issuer that publishes its keys on a network in memory.
type server struct {
	network *memnet.Network

	mu     sync.Mutex
	set    string
	header http.Header
	status int
	delay  time.Duration
	hits   []*http.Request
}

func newServer(t testing.TB, set string) *server {
	s := &server{network: memnet.New(), set: set, header: http.Header{}}
	l, err := s.network.Listen("127.0.0.1:8080")
	require.NoError(t, err)
	web := &http.Server{Handler: s}
	var wg sync.WaitGroup
	wg.Go(func() { _ = web.Serve(l) })
	t.Cleanup(func() {
		_ = web.Close()
		wg.Wait()
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.hits = append(s.hits, r)
	set, header, status, delay := s.set, s.header.Clone(), s.status, s.delay
	s.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	maps.Copy(w.Header(), header)
	if tag := header.Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag && status == 0 {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if status != 0 {
		w.WriteHeader(status)
	}
	_, _ = w.Write([]byte(set))
}

// serve changes what the server answers.
func (s *server) serve(f func(s *server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *server) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.hits)
}

// policy is one with this issuer.
func (s *server) policy(t testing.TB) authn.Policy {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return s.network.DialContext(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return authn.Policy{Issuers: []authn.Issuer{{
		Issuer: issuerName, Audiences: []string{audience}, JWKSURL: jwksURL, PlainHTTP: true, Transport: transport,
	}}}
}

func unix(t time.Time) string { return fmt.Sprint(t.Unix()) }

func decode(part string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(part) }
