// Package hint reads what callers tell a service about a call.
package hint

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Field is the header by which a caller tells a service about the call: a
// dictionary of RFC 9651 whose members only ever shorten, lower or skew. d is
// how many milliseconds the caller will still wait, a is the number of the
// attempt, m says that it is a copy, and r how many requests the service may
// have in flight, this one among them, if it is to work on it and not to send
// it back. It is for that service alone: whoever passes a request on leaves it
// out, as nobody else makes anew what comes back.
const Field = "Tulle-Call"

const (
	// MostLeft is the longest deadline that makes a difference.
	MostLeft = 24 * time.Hour
	// MostRoom is more than any server has in flight.
	MostRoom = 1 << 20
)

// Hints are what a service makes use of.
type Hints struct {
	// Left is how long the caller will still wait, between 0 and MostLeft. Told
	// is false if it has not told.
	Left time.Duration
	Told bool
	// Room is the member r, up to MostRoom, and 0 if there is none. As the
	// request is among those it counts, what is below 1 is none.
	Room int
}

// Of returns what a request says, without a Room where the caller could not
// make it anew elsewhere: CONNECT, and what is to become a connection of
// another protocol. See Read.
func Of(r *http.Request) (h Hints, ok bool) {
	h, ok = Read(r.Header[Field])
	if h.Room > 0 && (r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0) {
		h.Room = 0
	}
	return h, ok
}

// Without returns a header without the field: who works on a request that has a
// Room is the one that it is for, and does not pass it on.
func Without(h http.Header) http.Header {
	h = maps.Clone(h)
	delete(h, Field)
	return h
}

// Read reads the values of the field. ok is false if it cannot be read; it then
// says nothing, as RFC 9651 has it. It does not allocate.
func Read(values []string) (h Hints, ok bool) {
	for _, value := range values {
		if value = strings.Trim(value, " "); value == "" {
			continue
		}
		for more := true; more; {
			var member string
			member, value, more = cutMember(value)
			if !h.take(strings.Trim(member, " \t")) {
				return Hints{}, false
			}
		}
	}
	return h, true
}

// take takes a member in. Of several with one key the last counts.
func (h *Hints) take(member string) bool {
	end := strings.IndexAny(member, "=;")
	if end < 0 {
		end = len(member)
	}
	key := member[:end]
	if !isKey(key) {
		return false
	}
	if key != "d" && key != "r" {
		return true
	}
	n, ok := integer(member[end:])
	if !ok {
		return false
	}
	if key == "d" {
		h.Left, h.Told = time.Duration(min(max(n, 0), int64(MostLeft/time.Millisecond)))*time.Millisecond, true
	} else {
		h.Room = int(min(max(n, 0), MostRoom))
	}
	return true
}

// integer reads "=" and an Integer, behind which there may be parameters.
func integer(s string) (int64, bool) {
	s, ok := strings.CutPrefix(s, "=")
	s, _, _ = strings.Cut(s, ";")
	// "An Integer can have a range of -999,999,999,999,999 to
	// 999,999,999,999,999 inclusive" - RFC 9651, 3.3.1
	n, err := strconv.ParseInt(s, 10, 64)
	return n, ok && err == nil && len(strings.TrimPrefix(s, "-")) <= 15 && s[0] != '+'
}

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
