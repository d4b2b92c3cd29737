package archtest

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// golden compares got with the file name, or writes it there under -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := lineDiff(string(want), got); diff != "" {
		t.Errorf("%s differs; if the change is meant, run make update and read the diff:\n%s", name, diff)
	}
}

// lineDiff lists the lines only want has (-) and those only got has (+); for golden files whose lines are distinct
// that is all a reader needs. Equal lines in another order are a difference too.
func lineDiff(want, got string) string {
	if want == got {
		return ""
	}
	var b strings.Builder
	only := func(sign, in, notIn string) {
		counts := map[string]int{}
		for line := range strings.Lines(notIn) {
			counts[line]++
		}
		for line := range strings.Lines(in) {
			if counts[line]--; counts[line] < 0 {
				b.WriteString(sign + strings.TrimSuffix(line, "\n") + "\n")
			}
		}
	}
	only("-", want, got)
	only("+", got, want)
	if b.Len() == 0 {
		return "the same lines in another order\n"
	}
	return b.String()
}

func TestLineDiff(t *testing.T) {
	cases := []struct{ want, got, diff string }{
		{"a\nb\n", "a\nb\n", ""},
		{"a\nb\n", "a\n", "-b\n"},
		{"a\n", "a\na\n", "+a\n"},
		{"a\nb\n", "b\na\n", "the same lines in another order\n"},
	}
	for _, c := range cases {
		if diff := lineDiff(c.want, c.got); diff != c.diff {
			t.Errorf("lineDiff(%q, %q) = %q, want %q", c.want, c.got, diff, c.diff)
		}
	}
}
