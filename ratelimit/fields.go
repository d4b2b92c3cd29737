package ratelimit

import (
	"math/bits"
	"net/http"
	"strconv"
	"time"
)

// The names of the fields, as http.Header has them.
const (
	fieldPolicy     = "Ratelimit-Policy"
	fieldLimit      = "Ratelimit"
	fieldRetryAfter = "Retry-After"

	fieldLegacyLimit     = "X-Ratelimit-Limit"
	fieldLegacyRemaining = "X-Ratelimit-Remaining"
	fieldLegacyReset     = "X-Ratelimit-Reset"
)

// maxInteger is the greatest Integer of RFC 9651, section 3.3.1.
const maxInteger = 999_999_999_999_999

// seconds rounds up to whole seconds.
func seconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

// quota returns the quota of the policy and its window in whole seconds, at
// least one, at the same rate.
func (l *limit) quota() (q, w int64) {
	w = max(1, seconds(l.Period))
	hi, lo := bits.Mul64(uint64(l.Requests), uint64(w)*uint64(time.Second))
	if hi >= uint64(l.Period) {
		return maxInteger, w
	}
	n, _ := bits.Div64(hi, lo, uint64(l.Period))
	return int64(min(n, maxInteger)), w
}

// advertise returns the RateLimit-Policy field for policies.
func advertise(limits []limit) string {
	var b []byte
	for i := range limits {
		if i > 0 {
			b = append(b, ", "...)
		}
		q, w := limits[i].quota()
		b = appendItem(b, limits[i].Name)
		b = appendParameter(b, ";q=", q)
		b = appendParameter(b, ";w=", w)
	}
	return string(b)
}

// appendItem appends a String of RFC 9651. Tokens need no escapes.
func appendItem(b []byte, name string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"')
}

func appendParameter(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(append(b, name...), min(max(v, 0), maxInteger), 10)
}

// window returns in what time the client can use no more than what remains
// without exceeding its rate: spread over that time, what remains lasts as long
// as the client likes. If nothing remains, it is the time until something does.
func (d *Decision) window() time.Duration {
	b := &d.limiter.limits[d.policy]
	switch {
	case !d.Allowed:
		return d.RetryAfter
	case d.Remaining > 0:
		return b.duration(d.Remaining << b.shift)
	}
	return max(0, d.Reset-b.duration(b.full-1<<b.shift))
}

// SetFields sets the fields of a response, as Config.Fields has them: those of
// the policies that are enforced, of which RateLimit tells of the one named in
// d alone. For a refusal it sets Retry-After too, in whole seconds, rounded up
// and never 0, unless nobody knows when. Fields of these names that are in h
// are replaced.
func (d Decision) SetFields(h http.Header) {
	if !d.Allowed && d.RetryAfter > 0 {
		h[fieldRetryAfter] = []string{strconv.FormatInt(seconds(d.RetryAfter), 10)}
	}
	if d.limiter == nil || d.Policy == "" || d.limiter.config.Fields == RefusalFields {
		return
	}
	var buf [128]byte
	b := appendItem(buf[:0], d.Policy)
	b = appendParameter(b, ";r=", d.Remaining)
	b = appendParameter(b, ";t=", seconds(d.window()))
	h[fieldPolicy] = []string{d.limiter.advertised}
	h[fieldLimit] = []string{string(b)}
	if d.limiter.config.Fields == LegacyFields {
		h[fieldLegacyLimit] = []string{strconv.FormatInt(d.Limit, 10)}
		h[fieldLegacyRemaining] = []string{strconv.FormatInt(d.Remaining, 10)}
		h[fieldLegacyReset] = []string{strconv.FormatInt(seconds(d.Reset), 10)}
	}
}

// hushed reports whether a redirect should not carry d's fields: a client could
// take r=0 as a reason not to follow it (section 6 of the draft).
func (d *Decision) hushed() bool {
	return d.Allowed && d.Remaining == 0 && d.Policy != "" && d.limiter.config.Fields != RefusalFields
}

// dropFields takes out what SetFields has set.
func dropFields(h http.Header) {
	for _, name := range [...]string{fieldLimit, fieldLegacyLimit, fieldLegacyRemaining, fieldLegacyReset} {
		delete(h, name)
	}
}
