package match

import (
	"fmt"
	"regexp"
)

// MaxRegex is the greatest length of a regular expression, in bytes.
const MaxRegex = 1024

// compileRegex compiles expr so that it matches whole texts only.
func compileRegex(expr string) (*regexp.Regexp, error) {
	if len(expr) > MaxRegex {
		return nil, fmt.Errorf("%d bytes exceed the limit of %d", len(expr), MaxRegex)
	}
	// Alone first: "a)|(b" is no expression, though it would become one within
	// the group.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, err
	}
	anchored, err := regexp.Compile(`\A(?s:` + expr + `)\z`)
	if err != nil {
		// A quotation begun with \Q may run to the end of an expression, where
		// it would swallow the group's end.
		anchored, err = regexp.Compile(`\A(?s:` + expr + `\E)\z`)
	}
	return anchored, err
}
