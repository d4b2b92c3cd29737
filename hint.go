package tulle

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// hintField is the header by which a caller tells a service about the call: a
// dictionary of RFC 9651 whose members only ever shorten, lower or skew. d is
// how many milliseconds the caller will still wait, a is the number of the
// attempt. What would say nothing is left out, and so is an empty field.
const hintField = "Tulle-Call"

// hintOf returns the value of the field for attempt n that starts at now, ""
// if there is nothing to say.
func hintOf(ctx context.Context, n int, mirrored bool, now time.Time) string {
	deadline, ok := ctx.Deadline()
	if !ok && n == 1 && !mirrored {
		return ""
	}
	var buf [48]byte
	b := buf[:0]
	if ok {
		b = append(b, "d="...)
		b = strconv.AppendInt(b, max(0, deadline.Sub(now).Milliseconds()), 10)
	}
	if n > 1 {
		b = append(b, ", a="...)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	if mirrored {
		b = append(b, ", m"...)
	}
	return strings.TrimPrefix(string(b), ", ")
}

// hintedDeadline returns how long the caller of a request will still wait, if
// it told. ok is false for a field that cannot be read; it then says nothing,
// as RFC 9651 has it.
func hintedDeadline(values []string) (left time.Duration, told, ok bool) {
	for _, value := range values {
		for more := true; more; {
			var member string
			member, value, more = cutMember(value)
			name, v, has := strings.Cut(strings.Trim(member, " \t"), "=")
			if name == "" || !isToken(name) && !strings.Contains(name, ";") {
				return 0, false, false
			}
			if name != "d" {
				continue
			}
			v, _, _ = strings.Cut(v, ";")
			// "An Integer can have a range of -999,999,999,999,999 to
			// 999,999,999,999,999 inclusive" - RFC 9651, 3.3.1
			ms, err := strconv.ParseInt(v, 10, 64)
			if !has || err != nil || len(strings.TrimPrefix(v, "-")) > 15 || v[0] == '+' {
				return 0, false, false
			}
			left, told = time.Duration(min(max(ms, 0), int64(maxHinted/time.Millisecond)))*time.Millisecond, true
		}
	}
	return left, told, true
}

// maxHinted is the longest deadline that makes a difference.
const maxHinted = 24 * time.Hour

// cutMember cuts a dictionary behind its first member.
func cutMember(s string) (member, rest string, more bool) {
	quoted := false
	for i := range len(s) {
		switch {
		case quoted && s[i] == '\\':
			continue
		case s[i] == '"' && (i == 0 || s[i-1] != '\\'):
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
