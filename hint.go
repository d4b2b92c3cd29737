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
		if value = strings.Trim(value, " "); value == "" {
			continue
		}
		for more := true; more; {
			var member string
			member, value, more = cutMember(value)
			member = strings.Trim(member, " \t")
			end := strings.IndexAny(member, "=;")
			if end < 0 {
				end = len(member)
			}
			if name := member[:end]; !isKey(name) {
				return 0, false, false
			} else if name != "d" {
				continue
			}
			if left, ok = milliseconds(member[end:]); !ok {
				return 0, false, false
			}
			told = true
		}
	}
	return left, told, true
}

// milliseconds reads "=" and an Integer, behind which there may be parameters.
func milliseconds(s string) (time.Duration, bool) {
	s, ok := strings.CutPrefix(s, "=")
	s, _, _ = strings.Cut(s, ";")
	// "An Integer can have a range of -999,999,999,999,999 to
	// 999,999,999,999,999 inclusive" - RFC 9651, 3.3.1
	ms, err := strconv.ParseInt(s, 10, 64)
	if !ok || err != nil || len(strings.TrimPrefix(s, "-")) > 15 || s[0] == '+' {
		return 0, false
	}
	return time.Duration(min(max(ms, 0), int64(maxHinted/time.Millisecond))) * time.Millisecond, true
}

// maxHinted is the longest deadline that makes a difference.
const maxHinted = 24 * time.Hour

// isKey reports whether s is a key of RFC 9651, 3.1.2.
func isKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', c == '*':
		case i > 0 && ('0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// cutMember cuts a dictionary behind its first member.
func cutMember(s string) (member, rest string, more bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
