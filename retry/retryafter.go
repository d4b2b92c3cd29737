package retry

import (
	"math"
	"net/http"
	"time"
)

// retryAfter returns how long a response asks to be left alone, and whether
// it does so in a form that the standard knows. A date is counted from the
// Date of the same response, where it has one, so that clocks need not agree.
//
// "Retry-After = HTTP-date / delay-seconds" - RFC 9110, 10.2.3
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := h["Retry-After"]
	if len(v) == 0 {
		return 0, false
	}
	if d, ok := parseSeconds(v[0]); ok {
		return d, true
	}
	at, ok := parseDate(v[0])
	if !ok {
		return 0, false
	}
	if date := h["Date"]; len(date) > 0 {
		if sent, ok := parseDate(date[0]); ok {
			now = sent
		}
	}
	return max(0, at.Sub(now)), true
}

// parseSeconds reads "delay-seconds = 1*DIGIT". What exceeds a Duration is
// the longest one.
func parseSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	const most = int64(math.MaxInt64 / time.Second)
	n := int64(0)
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), most+1)
	}
	if n > most {
		return math.MaxInt64, true
	}
	return time.Duration(n) * time.Second, true
}

// parseDate reads an HTTP-date in its three forms, exactly.
//
// "A recipient that parses a timestamp value in an HTTP field MUST accept all
// three HTTP-date formats." - RFC 9110, 5.6.7
func parseDate(s string) (time.Time, bool) {
	for _, layout := range [...]string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		t, err := time.Parse(layout, s)
		// The package time neither compares the day of the week with the date
		// nor minds fractions of a second; writing the date again does.
		if err == nil && t.Format(layout) == s {
			return t, true
		}
	}
	return time.Time{}, false
}
