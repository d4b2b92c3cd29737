package retry

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestATimerThatFiredForTheHeadersIsNotTheEndOfTheCall runs the timer's
// function after the headers have come, as when both happen at once.
func TestATimerThatFiredForTheHeadersIsNotTheEndOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Policy{PerTry: time.Second}
		loop, err := New(Options{Policy: &p, Timeout: time.Minute})
		require.NoError(t, err)
		s := loop.armTry(t.Context(), loop.arm(t.Context(), time.Now().Add(time.Minute)))
		require.True(t, s.headers(&http.Response{StatusCode: 200}))
		s.expire()
		require.NoError(t, s.Err())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Error(t, s.Err(), "but it ends the call when its time has come")
		s.expire()
		s.end()
	})
}
