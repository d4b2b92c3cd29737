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
