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
	if !ok && n == 1 && !mirrored && room < 100 {
		return roomHint(room) // of a call without a deadline, for nothing
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

// rooms has what is said of 1 to 99.
const rooms = "r=1r=2r=3r=4r=5r=6r=7r=8r=9" +
	"r=10r=11r=12r=13r=14r=15r=16r=17r=18r=19r=20r=21r=22r=23r=24r=25r=26r=27" +
	"r=28r=29r=30r=31r=32r=33r=34r=35r=36r=37r=38r=39r=40r=41r=42r=43r=44r=45" +
	"r=46r=47r=48r=49r=50r=51r=52r=53r=54r=55r=56r=57r=58r=59r=60r=61r=62r=63" +
	"r=64r=65r=66r=67r=68r=69r=70r=71r=72r=73r=74r=75r=76r=77r=78r=79r=80r=81" +
	"r=82r=83r=84r=85r=86r=87r=88r=89r=90r=91r=92r=93r=94r=95r=96r=97r=98r=99"

// roomHint is hintOf where there is nothing else to say.
func roomHint(room int) string {
	if room < 10 {
		return rooms[3*(room-1):][:3]
	}
	return rooms[3*9+4*(room-10):][:4]
}
