//go:build !race

package body_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/body"
)

type silent struct{ hook body.Hook }

func (*silent) BodyEnd(error) {}

func TestFollowingABodyAllocatesNothing(t *testing.T) {
	r := strings.NewReader("")
	b := io.NopCloser(r)
	resp := &http.Response{StatusCode: 200}
	s := &silent{}
	buf := make([]byte, 64)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		r.Reset("body")
		resp.Body = b
		s.hook = body.Hook{}
		s.hook.Follow(resp, http.MethodGet, s)
		for {
			if _, err := resp.Body.Read(buf); err != nil {
				break
			}
		}
		_ = resp.Body.Close()
	}))
}
