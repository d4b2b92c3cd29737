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

func TestIn(t *testing.T) {
	for _, row := range []struct {
		fields []string
		want   bool
	}{
		{nil, false}, {[]string{""}, false}, {[]string{"upgrade"}, true}, {[]string{"keep-alive,\tUPGRADE ,x"}, true},
		{[]string{"close", "Upgrade"}, true}, {[]string{"upgrades"}, false}, {[]string{"x upgrade"}, false},
	} {
		if In(row.fields, "upgrade") != row.want {
			t.Errorf("%q: %v", row.fields, !row.want)
		}
	}
}
