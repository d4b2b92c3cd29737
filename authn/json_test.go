package authn

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecodeObjectRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                      "not an object",
		`[]`:                    "not an object",
		`"{}"`:                  "not an object",
		`{}{}`:                  "follows",
		`{} x`:                  "follows",
		"{}\x00":                "follows",
		"\ufeff{}":              "not an object",
		`{"a":1,"a":1}`:         `two members are called "a"`,
		`{"a":1,"\u0061":1}`:    `two members are called "a"`,
		`{"x":{"a":1,"a":2}}`:   `two members are called "a"`,
		`{"x":[{"a":1,"a":2}]}`: `two members are called "a"`,
		`{"a":"\ud800"}`:        "surrogate",
		`{"a":"\ud800\n"}`:      "surrogate",
		`{"a":"\ud800\u0041"}`:  "surrogate",
		"{\"a\":\"\xff\"}":      "UTF-8",
		"{\"a\":\"\n\"}":        "unexpected",
		`{'a':1}`:               "unexpected",
		`{a:1}`:                 "unexpected",
		`{"a":1,}`:              "unexpected",
		`{"a":[1,]}`:            "unexpected",
		`{"a":01}`:              "unexpected",
		`{"a":+1}`:              "unexpected",
		`{"a":0x1}`:             "unexpected",
		`{"a":1.}`:              "unexpected",
		`{"a":NaN}`:             "unexpected",
		`{"a":Infinity}`:        "unexpected",
		`{"a":True}`:            "unexpected",
		`{"a":"\x41"}`:          "unexpected",
		`{"a":"\u00G0"}`:        "unexpected",
		`{"a":"`:                "too soon",
		`{"a":"\u00`:            "too soon",
		`{"a":`:                 "too soon",
		`{"a"`:                  "too soon",
		`{`:                     "too soon",
		`{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`:   "deeply",
		strings.Repeat(`{"a":`, maxDepth+1) + `1` + strings.Repeat("}", maxDepth+1):     "deeply",
		`{"a":` + strings.Repeat("[", 4000):                                             "deeply",
		`{"a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth) + `}`: "unexpected",
	} {
		_, _, err := decodeObject(text)
		assert.ErrorContains(t, err, want, "%.60q", text)
	}
	_, _, err := decodeObject(`{"a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`)
	require.NoError(t, err)
}

// The cost is not less than what the heap gives out: see TestCacheIsBounded
// for what depends on it. Here it must grow with the number of values even
// where the text hardly does.
func TestDecodeObjectCounts(t *testing.T) {
	_, one, err := decodeObject(`{"a":[` + strings.Repeat(" ", 2000) + `1]}`)
	require.NoError(t, err)
	_, thousand, err := decodeObject(`{"a":[1` + strings.Repeat(",1", 1000) + `]}`)
	require.NoError(t, err)
	assert.Greater(t, thousand, 10*one)
}
