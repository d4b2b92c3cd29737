package tulle_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/identity"
)

// issuer signs certificates.
type issuer struct {
	key  ed25519.PrivateKey
	cert *x509.Certificate
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return &issuer{key, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca.example.org", Organization: []string{"Example"}},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
}

// certificate returns the n-th certificate, in DER, for a name.
func (i *issuer) certificate(t testing.TB, n int, name string) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(int64(n)), DNSNames: []string{name}},
		i.cert, i.key.Public(), i.key)
	require.NoError(t, err)
	return der
}

// shown is a request over a connection whose client has shown a certificate.
func shown(t testing.TB, der []byte) *http.Request {
	t.Helper()
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	return r
}

// Nobody is taken for another, however many peers there are and in whatever
// order their requests come; and certificates that are not real are not told
// apart by what they lack.
func TestPeersAreToldApart(t *testing.T) {
	m := inbound(t, tulle.Inbound{})
	var got identity.Principal
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, _ = identity.FromContext(r.Context())
	}))
	const peers = 1000
	i := newIssuer(t)
	certificates := make([][]byte, peers)
	for n := range certificates {
		certificates[n] = i.certificate(t, n+2, fmt.Sprintf("peer-%d.example.org", n))
	}
	for round := range 3 {
		for n := range certificates {
			n = n * 389 % peers
			want := identity.Principal{Kind: identity.Certificate, Name: fmt.Sprintf("peer-%d.example.org", n), Issuer: "CN=ca.example.org,O=Example"}
			for range round + 1 {
				h.ServeHTTP(httptest.NewRecorder(), shown(t, certificates[n]))
				require.Equal(t, want, got)
			}
		}
	}
	for _, name := range []string{"spiffe://a/b", "spiffe://a/c"} {
		visit(h, "GET /", "", certified(name))
		assert.Equal(t, name, got.Name)
	}
}

// BenchmarkPeer is a request over a connection with a client certificate.
func BenchmarkPeer(b *testing.B) {
	h := inbound(b, tulle.Inbound{}).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := shown(b, newIssuer(b).certificate(b, 2, "peer.example.org"))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
