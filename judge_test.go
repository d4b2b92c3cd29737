package tulle_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

// An attempt is counted once, as what it came to in the end, however its
// judgement changes there. gRPC says in the trailers what became of a call.
func TestAnAttemptIsCountedOnceAsWhatItCameTo(t *testing.T) {
	trailer := func(status string) tulletest.Step {
		return tulletest.Step{Body: "abcdef", Trailer: http.Header{"Grpc-Status": {status}}}
	}
	http1, h2c := tulle.HTTP1, tulle.H2C
	for name, row := range map[string]struct {
		step       tulletest.Step
		classifier outcome.Classifier
		protocol   tulle.Protocol
		ok, failed uint64
	}{
		"whole":                     {tulletest.Step{Body: "abcdef"}, nil, http1, 1, 0},
		"reset in the body":         {tulletest.Step{Body: "abcdef", Fault: tulletest.ResetBody}, nil, http1, 0, 1},
		"reset in the body, h2c":    {tulletest.Step{Body: "abcdef", Fault: tulletest.ResetBody}, nil, h2c, 0, 1},
		"truncated":                 {tulletest.Step{Body: "abcdef", Fault: tulletest.Truncate}, nil, http1, 0, 1},
		"failed, then reset":        {tulletest.Step{Status: 503, Body: "abcdef", Fault: tulletest.ResetBody}, nil, http1, 0, 1},
		"trailers: OK":              {trailer("0"), outcome.GRPC{}, h2c, 1, 0},
		"trailers: INTERNAL":        {trailer("13"), outcome.GRPC{}, h2c, 0, 1},
		"trailers: UNAVAILABLE":     {trailer("14"), outcome.GRPC{}, h2c, 0, 1},
		"trailers: NOT_FOUND":       {trailer("5"), outcome.GRPC{}, h2c, 1, 0},
		"trailers: INTERNAL, http1": {trailer("13"), outcome.GRPC{}, http1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", row.step)
				c := one("10.0.0.1:80")
				c.Services[0].Classifier, c.Services[0].Protocol = row.classifier, row.protocol
				m := w.mesh(c)
				require.NoError(w, m.Ready(w.Context()))
				const calls = 5
				for range calls {
					_, err := get(w.Context(), m, "http://reviews/")
					require.Equal(w, row.step.Fault != tulletest.NoFault, err != nil, fmt.Sprint(err))
				}
				e := service(w, m, "reviews").Endpoints[0]
				assert.EqualValues(w, calls*row.ok, e.OK, "good")
				assert.EqualValues(w, calls*row.failed, e.Failed, "failed")
				assert.EqualValues(w, calls, e.Started)
			})
		})
	}
}

// asked is a classifier that counts how often it is asked of the end.
type asked struct {
	outcome.GRPC
	times *atomic.Int32
}

func (a asked) ClassifyEnd(o outcome.Outcome, resp *http.Response, err error) outcome.Outcome {
	a.times.Add(1)
	return a.GRPC.ClassifyEnd(o, resp, err)
}

// Who closes a body early may do so while trailers come: nobody looks at them.
func TestNobodyIsAskedOfABodyClosedEarly(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "abcdef", Trailer: http.Header{"Grpc-Status": {"13"}}})
		c := one("10.0.0.1:80")
		var times atomic.Int32
		c.Services[0].Classifier, c.Services[0].Protocol = asked{times: &times}, tulle.H2C
		m := w.mesh(c)
		resp, err := m.Client().Get("http://reviews/")
		require.NoError(w, err)
		require.NoError(w, resp.Body.Close())
		assert.Zero(w, times.Load())
		assert.EqualValues(w, 1, service(w, m, "reviews").Endpoints[0].OK)
		w.get(m, "http://reviews/")
		assert.EqualValues(w, 1, times.Load(), "one that is read to its end")
		assert.EqualValues(w, 1, service(w, m, "reviews").Endpoints[0].Failed)
	})
}
