package authn

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// What is accepted encoding/json accepts too, and understands in the same way.
func FuzzDecodeObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, ` { "a" : [ 1 , -0.5e+3, true, false, null, {"b":"c"} ] } `, `{"a":"\u0041\n\ud83d\ude00\/"}`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":"\ud83d"}`, `{"a":"\udc00\ud800"}`, `{"a":01}`, `{"a":.5}`, `{"a":1e}`, `{"a":NaN}`,
		`{"a":1}x`, `{"a":1,}`, `[1]`, `1`, ``, "{\"a\":\"\x00\"}", "{\"\xff\":1}", `{"a":"\u00g0"}`, `{"a":"\u+123"}`, `{"a":"\u_123"}`, `{"a":tru}`,
		`{"a":[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, size, err := decodeObject(text)
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader([]byte(text)))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is accepted, though: %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, want %v", text, got, want)
		}
		if size < len(text) {
			t.Fatalf("%q takes %d bytes", text, size)
		}
	})
}
