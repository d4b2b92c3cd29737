package hint_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/internal/hint"
)

func TestDeadline(t *testing.T) {
	ms := time.Millisecond
	for _, row := range []struct {
		values []string
		left   time.Duration
		told   bool
		ok     bool
	}{
		{nil, 0, false, true},
		{[]string{""}, 0, false, true},
		{[]string{"  "}, 0, false, true},
		{[]string{"d=850"}, 850 * ms, true, true},
		{[]string{" d=850 "}, 850 * ms, true, true},
		{[]string{"d=850;x=y"}, 850 * ms, true, true},
		{[]string{"a=2, d=850"}, 850 * ms, true, true},
		{[]string{"a=2,\td=850\t, m"}, 850 * ms, true, true},
		{[]string{"a=2", "d=850"}, 850 * ms, true, true},
		{[]string{"d=9", "d=850"}, 850 * ms, true, true}, // the last counts
		{[]string{"d=0"}, 0, true, true},
		{[]string{"d=-5"}, 0, true, true},
		{[]string{"d=999999999999999"}, hint.MostLeft, true, true},
		{[]string{`x="a, d=1", d=2`}, 2 * ms, true, true},
		{[]string{`x="a\", d=1", d=2`}, 2 * ms, true, true},
		{[]string{`x="a\\", d=2`}, 2 * ms, true, true},
		{[]string{`x="a\\", y="d=1", d=2`}, 2 * ms, true, true},
		{[]string{"*x=1, d-d=3, dd=4"}, 0, false, true},
		{[]string{"x=(a b);q, d=2"}, 2 * ms, true, true},
		{[]string{"d"}, 0, false, false},
		{[]string{"d=850 ;x"}, 0, false, false},
		{[]string{"d=850,"}, 0, false, false},
		{[]string{"d=850", "d=("}, 0, false, false}, // all of it is void
		{[]string{"D=850"}, 0, false, false},
		{[]string{"d=+1"}, 0, false, false},
		{[]string{"d=--1"}, 0, false, false},
		{[]string{"d=-"}, 0, false, false},
		{[]string{"d=0x10"}, 0, false, false},
		{[]string{"d=1_0"}, 0, false, false},
		{[]string{"d=1000000000000000"}, 0, false, false},
		{[]string{"d=99999999999999999999999999"}, 0, false, false},
		{[]string{"d=850\r\nX: y"}, 0, false, false},
	} {
		h, ok := hint.Read(row.values)
		assert.Equal(t, row.ok, ok, "%q", row.values)
		assert.Equal(t, row.told, h.Told, "%q", row.values)
		assert.Equal(t, row.left, h.Left, "%q", row.values)
	}
}

func TestRoom(t *testing.T) {
	for _, row := range []struct {
		values []string
		room   int
		ok     bool
	}{
		{nil, 0, true},
		{[]string{"d=850"}, 0, true},
		{[]string{"r=5"}, 5, true},
		{[]string{" r=5 "}, 5, true},
		{[]string{"d=850, a=2,\tr=5\t, m"}, 5, true},
		{[]string{"r=5;x=y"}, 5, true},
		{[]string{"d=1", "r=5"}, 5, true},
		{[]string{"r=9", "r=5"}, 5, true}, // the last counts
		{[]string{"r=9, r=0"}, 0, true},
		{[]string{"r=1"}, 1, true},
		{[]string{"r=0"}, 0, true}, // there is at least the request itself
		{[]string{"r=-7"}, 0, true},
		{[]string{"r=999999999999999"}, hint.MostRoom, true},
		{[]string{`x="a, r=1", r=2`}, 2, true},
		{[]string{"rr=3, r-r=4, *r=5"}, 0, true},
		{[]string{"r"}, 0, false},
		{[]string{"r=1.5"}, 0, false},
		{[]string{"R=5"}, 0, false},
		{[]string{"r=+1"}, 0, false},
		{[]string{"r=1000000000000000"}, 0, false},
		{[]string{"r=99999999999999999999999999"}, 0, false},
		// All of it is void, whichever member is.
		{[]string{"r=5, d=("}, 0, false},
		{[]string{"r=5", "d=1.5"}, 0, false},
		{[]string{"r=5,"}, 0, false},
	} {
		h, ok := hint.Read(row.values)
		assert.Equal(t, row.ok, ok, "%q", row.values)
		assert.Equal(t, row.room, h.Room, "%q", row.values)
	}
	h, ok := hint.Read([]string{"d=1, r=("})
	assert.Equal(t, hint.Hints{}, h)
	assert.False(t, ok)
}

// What cannot be made anew elsewhere is never to come back.
func TestOf(t *testing.T) {
	for name, row := range map[string]struct {
		method string
		header http.Header
		want   hint.Hints
		ok     bool
	}{
		"nothing":    {"GET", nil, hint.Hints{}, true},
		"all":        {"POST", http.Header{hint.Field: {"d=5, r=2"}}, hint.Hints{Left: 5 * time.Millisecond, Told: true, Room: 2}, true},
		"a tunnel":   {"CONNECT", http.Header{hint.Field: {"d=5, r=2"}}, hint.Hints{Left: 5 * time.Millisecond, Told: true}, true},
		"an upgrade": {"GET", http.Header{hint.Field: {"r=2"}, "Upgrade": {"websocket"}, "Connection": {"upgrade"}}, hint.Hints{}, true},
		"garbage":    {"GET", http.Header{hint.Field: {"r=2,"}}, hint.Hints{}, false},
	} {
		h, ok := hint.Of(&http.Request{Method: row.method, Header: row.header})
		assert.Equal(t, row.want, h, name)
		assert.Equal(t, row.ok, ok, name)
	}
}
