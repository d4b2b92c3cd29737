// Package token knows the tokens of RFC 9110.
package token

import "strings"

// Is reports whether s is a token of RFC 9110, section 5.6.2: what methods,
// and names of header fields and cookies, are made of.
func Is(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// In reports whether one of the elements of a list, which fields of one name
// make up together (RFC 9110, section 5.6.1), is a token, in any case.
func In(fields []string, token string) bool {
	for _, field := range fields {
		for element := range strings.SplitSeq(field, ",") {
			if strings.EqualFold(strings.Trim(element, " \t"), token) {
				return true
			}
		}
	}
	return false
}
