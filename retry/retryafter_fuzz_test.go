package retry

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0":                              0,
		"1":                              time.Second,
		"007":                            7 * time.Second,
		"120":                            2 * time.Minute,
		"9223372036":                     9223372036 * time.Second,
		"9223372037":                     1<<63 - 1,
		"99999999999999999999":           1<<63 - 1,
		"Sun, 06 Nov 1994 08:50:37 GMT":  time.Minute,
		"Sunday, 06-Nov-94 08:50:37 GMT": time.Minute,
		"Sun Nov  6 08:50:37 1994":       time.Minute,
		"Sun, 06 Nov 1994 08:49:37 GMT":  0,
		"Sun, 06 Nov 1994 08:00:00 GMT":  0,
		"Fri, 31 Dec 9999 23:59:59 GMT":  1<<63 - 1,
	} {
		got, ok := retryAfter(http.Header{"Retry-After": {value}}, now)
		require.True(t, ok, value)
		require.Equal(t, want, got, value)
	}
	for _, value := range []string{
		"", " ", "1 ", " 1", "+1", "-1", "1.5", "1s", "0x1", "1e3", "１", "1,2",
		"Mon, 06 Nov 1994 08:50:37 GMT", // it was a Sunday
		"Sun, 06 Nov 1994 08:50:37 UTC",
		"Sun, 06 Nov 1994 08:50:37 +0000",
		"Sun, 06 Nov 1994 08:50:37.5 GMT",
		"Sun, 6 Nov 1994 08:50:37 GMT",
		"sun, 06 nov 1994 08:50:37 gmt",
		"Sun, 31 Nov 1994 08:50:37 GMT",
		"Sun Nov 06 08:50:37 1994",
	} {
		_, ok := retryAfter(http.Header{"Retry-After": {value}}, now)
		require.False(t, ok, "%q", value)
	}
	_, ok := retryAfter(http.Header{}, now)
	require.False(t, ok)
}

func TestRetryAfterCountsFromTheDateOfTheResponse(t *testing.T) {
	h := http.Header{"Retry-After": {"Sun, 06 Nov 1994 08:49:40 GMT"}, "Date": {"Sun, 06 Nov 1994 08:49:37 GMT"}}
	got, ok := retryAfter(h, time.Now())
	require.True(t, ok)
	require.Equal(t, 3*time.Second, got)
	h["Date"] = []string{"yesterday"}
	got, ok = retryAfter(h, time.Date(1994, time.November, 6, 8, 49, 0, 0, time.UTC))
	require.True(t, ok)
	require.Equal(t, 40*time.Second, got)
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"0", "120", "99999999999999999999", "-1", "1.0", "", "Sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37.000 GMT"} {
		f.Add(seed, "Sun, 06 Nov 1994 08:49:37 GMT")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		now := time.Date(2026, time.November, 22, 0, 0, 0, 0, time.UTC)
		got, ok := retryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, now)
		if got < 0 {
			t.Fatalf("negative: %v", got)
		}
		if !ok {
			if got != 0 {
				t.Fatalf("%v from what is not understood", got)
			}
			// Whatever both the standard library's lenient parsers deny is no loss.
			if n, err := strconv.ParseUint(value, 10, 62); err == nil && !strings.ContainsAny(value, "+_") {
				t.Fatalf("%q is %d seconds", value, n)
			}
			return
		}
		digits := strings.Trim(value, "0123456789") == ""
		if _, err := http.ParseTime(value); err != nil && !digits {
			t.Fatalf("%q is neither seconds nor a date", value)
		}
		if digits && len(value) < 10 {
			if n, _ := strconv.Atoi(value); got != time.Duration(n)*time.Second {
				t.Fatalf("%q is %v", value, got)
			}
		}
	})
}
