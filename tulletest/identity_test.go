package tulletest

import (
	"net/http"
	"testing"
)

func TestIdentityRoundTripper(t *testing.T) {
	TestRoundTripper(t, func(rt http.RoundTripper) http.RoundTripper { return rt })
}

func TestIdentityHandler(t *testing.T) {
	TestHandler(t, func(h http.Handler) http.Handler { return h })
}
