package retry_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

func TestMiddlewareKeepsTheContractOfRoundTripper(t *testing.T) {
	for name, o := range map[string]retry.Options{
		"nothing armed":        {},
		"defaults":             {Policy: &retry.Policy{}},
		"limits":               {Policy: &retry.Policy{PerTry: time.Hour}, Timeout: 2 * time.Hour},
		"limit of the attempt": {Policy: &retry.Policy{PerTry: time.Hour}},
		"no buffer":            {Policy: &retry.Policy{BufferBody: -1}},
		"small buffer":         {Policy: &retry.Policy{BufferBody: 10}},
		"observe":              {Policy: &retry.Policy{Mode: outcome.Observe, PerTry: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tulletest.TestRoundTripper(t, func(next http.RoundTripper) http.RoundTripper {
				loop, err := retry.New(o)
				require.NoError(t, err)
				return loop.Middleware(nil)(next)
			})
		})
	}
}
