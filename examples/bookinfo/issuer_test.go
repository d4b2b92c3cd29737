package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
)

// TestIssuer: of four tokens that say the same one is good, and each other is
// bad for what it is called after.
func TestIssuer(t *testing.T) {
	i, err := openIssuer()
	require.NoError(t, err)
	t.Cleanup(i.close)
	guard := tulle.Guard{Authn: &authn.Policy{Issuers: []authn.Issuer{{Issuer: issuerName, Audiences: []string{audience}}}}}
	published := i.publish(guard)
	require.Equal(t, i.url, published.Authn.Issuers[0].JWKSURL)
	require.Empty(t, guard.Authn.Issuers[0].JWKSURL, "what was given is as it was")
	require.Nil(t, i.publish(tulle.Guard{}).Authn)

	v, err := authn.New(*published.Authn, authn.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	soon := time.Now().Add(time.Hour)
	for want, token := range map[authn.Kind]string{
		0:                    i.token("anna", "reader", soon),
		authn.Expired:        i.token("anna", "reader", time.Now().Add(-time.Hour)),
		authn.BadSignature:   foreign("anna", soon),
		authn.WrongAlgorithm: unsigned("anna", soon),
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		_, err := v.Authenticate(r)
		if want == 0 {
			require.NoError(t, err)
			continue
		}
		var refused *authn.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, want, refused.Kind, refused)
	}
}
