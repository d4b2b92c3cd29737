package secret_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/internal/secret"
)

func TestName(t *testing.T) {
	for _, name := range []string{
		"Authorization", "X-Api-Key", "access_token", "X-Amz-Signature", "AWSAccessKeyId", "sig", "X-Goog-Credential",
		"Set-Cookie", "PASSWORD", "client_secret", "PHPSESSIONID",
	} {
		assert.True(t, secret.Name(name), name)
	}
	for _, name := range []string{"", "page", "q", "Content-Type", "X-Request-Id", "version"} {
		assert.False(t, secret.Name(name), name)
	}
}
