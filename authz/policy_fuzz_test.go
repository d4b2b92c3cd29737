package authz

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
)

// FuzzPolicy: whatever a configuration says, it is refused with a reason or
// compiled, and its effective form means the same.
func FuzzPolicy(f *testing.F) {
	f.Add(`{"mode":"observe","rules":[{"name":"a","action":"allow"}]}`, "/a")
	f.Add(`{"rules":[{"name":"a","action":"deny","from":[{"principals":["*"],"networks":["::ffff:10.0.0.0/104"]}],
		"to":[{"methods":["GET"],"hosts":["*.Example."],"paths":[{"prefix":"/caf%C3%A9/"}],"notPaths":[{"exact":"/"}]}],
		"when":[{"claim":"a.b","values":["x"],"notValues":["*"]},{"header":"x-y","notValues":["*"]}]}]}`, "/caf%C3%A9/x")
	f.Add(`{"rules":[{"name":"","action":"audit","from":[{}],"to":[],"when":[{}]}]}`, "//")
	f.Add(`{"rules":[{"name":"a","action":"allow","to":[{"paths":[{"exact":"/%2F"},{"prefix":"/a/../b"},{"exact":"%zz"}]}]}]}`, "/%2F")
	f.Fuzz(func(t *testing.T, config, target string) {
		var p Policy
		if json.Unmarshal([]byte(config), &p) != nil {
			return
		}
		invalid := p.Validate()
		a, err := New(p)
		if (invalid == nil) != (err == nil) {
			t.Fatalf("Validate: %v, New: %v", invalid, err)
		}
		if err != nil {
			return
		}
		effective := p.Effective()
		if again := effective.Effective(); !reflect.DeepEqual(again, effective) {
			t.Fatalf("%+v is effective as %+v", effective, again)
		}
		b, err := New(effective)
		if err != nil {
			t.Fatalf("the effective form is refused: %v", err)
		}
		r, err := readRequest(http.MethodGet, target)
		if err != nil {
			return
		}
		x, y := a.Decide(r), b.Decide(r)
		x.counts, y.counts = nil, nil
		if x != y {
			t.Fatalf("%+v, and in effective form %+v", x, y)
		}
	})
}
