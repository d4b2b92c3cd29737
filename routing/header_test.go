package routing_test

import (
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/routing"
)

type field = routing.Field

// wantFaults holds err to be one fault per element of want, each beginning with it.
func wantFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	var lines []string
	if err != nil {
		lines = strings.Split(err.Error(), "\n")
	}
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || !strings.HasPrefix(lines[i], want[i]) {
			t.Fatalf("the faults are\n%v\nwant %q", err, want)
		}
	}
}

func TestHeaderEdit(t *testing.T) {
	edit := routing.HeaderEdit{
		Set:    []field{{"x-set", "new"}, {"X-Empty", ""}},
		Add:    []field{{"x-add", "second"}, {"x-set", "more"}, {"x-add", "third"}, {"x-fresh", "first"}},
		Remove: []string{"x-remove", "x-absent"},
	}
	wantFaults(t, edit.Validate())
	header := http.Header{"X-Set": {"a", "b"}, "X-Add": {"first"}, "X-Remove": {"r"}, "X-Keep": {"k"}}
	edit.Apply(header)
	want := http.Header{
		"X-Set": {"new", "more"}, "X-Empty": {""}, "X-Add": {"first", "second", "third"}, "X-Fresh": {"first"}, "X-Keep": {"k"},
	}
	if !reflect.DeepEqual(header, want) {
		t.Errorf("got %v, want %v", header, want)
	}
	if edit.IsZero() || !(routing.HeaderEdit{}).IsZero() {
		t.Error("IsZero")
	}
}

// TestHeaderEditSharedSlices edits a shallow copy of a header whose slices have
// room, which an append would write to.
func TestHeaderEditSharedSlices(t *testing.T) {
	room := make([]string, 1, 4)
	room[0] = "first"
	theirs := http.Header{"A": room, "B": {"b"}}
	edit := routing.HeaderEdit{Add: []field{{"a", "second"}}, Set: []field{{"b", "new"}}}
	edit.Apply(maps.Clone(theirs))
	if !reflect.DeepEqual(theirs, http.Header{"A": {"first"}, "B": {"b"}}) || room[:2][1] != "" {
		t.Errorf("another header was changed: %v %q", theirs, room[:2])
	}
}

func TestHeaderEditFaults(t *testing.T) {
	for _, name := range []string{
		"", "a b", "a:", "a\r\nb", "é", ":path", "host", "Content-Length", "transfer-encoding", "Connection", "keep-alive",
		"Proxy-Connection", "TE", "Trailer", "Upgrade", "Proxy-Authenticate", "proxy-authorization",
	} {
		for _, edit := range []routing.HeaderEdit{
			{Set: []field{{name, "v"}}}, {Add: []field{{name, "v"}}}, {Remove: []string{name}},
		} {
			if edit.Validate() == nil {
				t.Errorf("%+v is let through", edit)
			}
		}
	}
	for _, v := range []string{"a\r\nb", "\n", "\x00", "a\x7f", "\x1b[1m"} {
		if (routing.HeaderEdit{Set: []field{{"a", v}}}).Validate() == nil {
			t.Errorf("value %q is let through", v)
		}
	}
	for _, v := range []string{"", "a\tb", "é", " a"} {
		if err := (routing.HeaderEdit{Set: []field{{"a", v}}}).Validate(); err != nil {
			t.Errorf("value %q: %v", v, err)
		}
	}
	wantFaults(t, routing.HeaderEdit{
		Set:    []field{{"a", "1"}, {"A", "2"}, {"c:", "\n"}},
		Add:    []field{{"b", "1"}, {"b", "2"}, {"a", "3"}},
		Remove: []string{"B", "a", "d", "D"},
	}.Validate(),
		"set[1].name: ", "set[2].name: ", "set[2].value: ", "remove[0]: ", "remove[1]: ", "remove[3]: ")
}
