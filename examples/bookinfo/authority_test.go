package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAuthority: details shows the certificate that it was last given, also
// one that has expired, and one that cannot be read never.
func TestAuthority(t *testing.T) {
	f := newFleet(t)
	cert, key := f.authority.files("details")
	info, err := os.Stat(key)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	require.NoError(t, f.renew(t.Context(), -time.Second))
	require.NoError(t, f.apply(t.Context(), rules{fresh: true}))
	p, err := f.look(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "no details", securityOfDetails(p))
	require.NoError(t, f.renew(t.Context(), forLong))
	seen := func() string {
		p, err := f.look(t.Context(), "")
		require.NoError(t, err)
		return securityOfDetails(p)
	}
	require.Equal(t, "details over TLS 1.3", seen())

	require.NoError(t, os.WriteFile(cert, nil, 0o600))
	require.NoError(t, waitUntil(t.Context(), time.Now().Add(2*time.Second)))
	require.Equal(t, "details over TLS 1.3", seen())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.Error(t, f.authority.shown(ctx, "details", f.authority.issued+1, f.of("details")[0].addr))
	require.Error(t, f.authority.shown(t.Context(), "ratings", 1, f.of("ratings")[0].addr))

	f.authority.close()
	_, err = os.Stat(filepath.Dir(cert))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = f.authority.certify("details", time.Now())
	require.Error(t, err)
}

func TestSecurityOfDetails(t *testing.T) {
	var p page
	require.Equal(t, "details in plain text", securityOfDetails(p))
	p.Details.TLS = "TLS 1.2"
	require.Equal(t, "details over TLS 1.2", securityOfDetails(p))
	p.Details.Error = "x"
	require.Equal(t, "no details", securityOfDetails(p))
}
