package token

import "testing"

func TestIs(t *testing.T) {
	for s, want := range map[string]bool{
		"GET": true, "X-Api-Key": true, "!#$%&'*+-.^_`|~09azAZ": true,
		"": false, "a b": false, "a:b": false, "a\tb": false, "a\x00": false, "é": false, "a/b": false, `a"b`: false, "a(b)": false,
	} {
		if Is(s) != want {
			t.Errorf("Is(%q) = %v", s, !want)
		}
	}
}
