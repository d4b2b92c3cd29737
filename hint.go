package tulle

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/internal/hint"
)

// hintField is the header by which a caller tells a service about the call.
const hintField = hint.Field

// hintOf returns the value of the field for attempt n that starts at now, ""
// if there is nothing to say: what would say nothing is left out. room is what
// balancer.Wary says of the endpoint, 0 for none.
func hintOf(ctx context.Context, n, room int, mirrored bool, now time.Time) string {
	deadline, ok := ctx.Deadline()
	if !ok && n == 1 && room <= 0 && !mirrored {
		return ""
	}
	var buf [64]byte
	b := buf[:0]
	if ok {
		b = append(b, "d="...)
		b = strconv.AppendInt(b, max(0, deadline.Sub(now).Milliseconds()), 10)
	}
	if n > 1 {
		b = append(b, ", a="...)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	if room > 0 {
		b = append(b, ", r="...)
		b = strconv.AppendInt(b, min(int64(room), hint.MostRoom), 10)
	}
	if mirrored {
		b = append(b, ", m"...)
	}
	return strings.TrimPrefix(string(b), ", ")
}
