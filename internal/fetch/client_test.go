package fetch_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/fetch"
)

func TestRetryAfterField(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for field, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "1.5": 0, "99999": 5 * time.Minute, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
		now.Add(time.Hour).Format(http.TimeFormat):    5 * time.Minute,
	} {
		assert.Equal(t, want, fetch.RetryAfter(http.Header{"Retry-After": {field}}, now), "%q", field)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var errFinal = errors.New("no use")

// What fails in passing is tried three times, and nothing else is.
func TestClientRepeatsWhatFailsInPassing(t *testing.T) {
	answer := func(status int, header ...string) transport {
		return func(r *http.Request) (*http.Response, error) {
			h := http.Header{}
			for i := 0; i < len(header); i += 2 {
				h.Set(header[i], header[i+1])
			}
			return &http.Response{StatusCode: status, Header: h, Body: http.NoBody, Request: r}, nil
		}
	}
	fail := func(err error) transport {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	for name, row := range map[string]struct {
		transport transport
		tries     int
	}{
		"200":                     {answer(200), 1},
		"404":                     {answer(404), 1},
		"500":                     {answer(500), 1},
		"503":                     {answer(503), 3},
		"429":                     {answer(429), 3},
		"503 that asks for time":  {answer(503, "Retry-After", "7"), 1},
		"no response":             {fail(errors.New("reset")), 3},
		"no response for good":    {fail(errFinal), 1},
		"redirect to another":     {answer(302, "Location", "http://elsewhere/"), 1},
		"redirect without an end": {answer(302, "Location", "http://name/"), 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				c := fetch.Client(transport(func(r *http.Request) (*http.Response, error) {
					require.Equal(t, "name", r.URL.Host)
					tries++
					return row.transport(r)
				}), time.Second, 50*time.Millisecond, func(err error) bool { return errors.Is(err, errFinal) })
				c.Logger = nil
				req, err := retryablehttp.NewRequestWithContext(t.Context(), "GET", "http://name/", nil)
				require.NoError(t, err)
				begin := time.Now()
				if resp, err := c.Do(req); err == nil {
					require.NoError(t, resp.Body.Close())
				}
				assert.Equal(t, row.tries, tries)
				assert.Less(t, time.Since(begin), time.Second)
			})
		})
	}
}
