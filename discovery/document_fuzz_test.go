package discovery_test

import (
	"reflect"
	"testing"

	"github.com/tulle-mesh/tulle/discovery"
)

// FuzzDocument: what is accepted is a valid set, and the same set after it
// has been written and read.
func FuzzDocument(f *testing.F) {
	for _, doc := range []string{
		`[]`, `[{}]`, `[null]`, `null`, `[{"addr":"a:1"}]`, `[{"addr":"a:1"},{"addr":"a:1"}]`,
		`[{"addr":"unix:/x","weight":4294967295,"priority":1,"region":"r","zone":"z","labels":{"a":"b"},"notReady":true}]`,
		`[{"addr":"a:1","labels":{"a":"1","a":"2"}}]`, `[{"ADDR":"a:1"}]`, `[{"addr":"\ud800:1"}]`, `[{"addr":"a:1","weight":1e3}]`,
		"[{\"addr\":\"a:1\"}]\x00", `[[[[[[`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		infos, err := discovery.Parse(doc)
		if err != nil {
			if infos != nil {
				t.Fatal("a set and an error")
			}
			return
		}
		if infos == nil {
			t.Fatal("neither a set nor an error")
		}
		if err := discovery.Validate(infos); err != nil {
			t.Fatal(err)
		}
		written, err := discovery.Encode(infos)
		if err != nil {
			return // it has become too large
		}
		again, err := discovery.Parse(written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		for i := range infos {
			if len(infos[i].Labels) == 0 {
				infos[i].Labels = nil // as it is written
			}
		}
		if !reflect.DeepEqual(infos, again) {
			t.Fatalf("%+v\n%+v", infos, again)
		}
	})
}
