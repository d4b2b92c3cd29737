package fetch_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/fetch"
)

// FuzzRetryAfter: no server can ask for less than nothing or for ever.
func FuzzRetryAfter(f *testing.F) {
	for _, field := range []string{
		"", "0", "1", "120", "-1", "1e9", "4294967295", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT",
		"Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:59 9999",
	} {
		f.Add(field, int64(946684800))
	}
	f.Fuzz(func(t *testing.T, field string, now int64) {
		if d := fetch.RetryAfter(http.Header{"Retry-After": {field}}, time.Unix(now, 0)); d < 0 || d > 5*time.Minute {
			t.Errorf("%q: %v", field, d)
		}
	})
}
