package match

import "strings"

// findParameter returns the value of the first parameter called name, still
// escaped. What [net/url.ParseQuery] cannot parse is passed over. It does not
// allocate.
func findParameter(rawQuery, name string) (value string, found bool) {
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		if pair == "" || strings.IndexByte(pair, ';') >= 0 {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if rest, all := cutEscaped(name, key); !all || rest != "" {
			continue
		}
		if isDecodable(value) {
			return value, true
		}
	}
	return "", false
}

// isEscaped reports whether decoding would change s.
func isEscaped(s string) bool { return strings.ContainsAny(s, "%+") }

// isDecodable reports whether every "%" in s begins an escape.
func isDecodable(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return true
		}
		if _, ok := unhex(s[i+1:]); !ok {
			return false
		}
		s = s[i+3:]
	}
}

// next returns the first byte that escaped means and what follows it; ok is false
// for a bad escape. escaped is not empty.
func next(escaped string) (c byte, rest string, ok bool) {
	switch c = escaped[0]; c {
	case '+':
		return ' ', escaped[1:], true
	case '%':
		if c, ok = unhex(escaped[1:]); !ok {
			return 0, "", false
		}
		return c, escaped[3:], true
	}
	return c, escaped[1:], true
}

// cutEscaped compares text with what escaped means. It returns what of text is
// left where either ends or they differ, and whether all of escaped was found in
// text, which a bad escape never is.
func cutEscaped(text, escaped string) (rest string, all bool) {
	for escaped != "" {
		c, after, ok := next(escaped)
		if !ok || text == "" || text[0] != c {
			return text, false
		}
		text, escaped = text[1:], after
	}
	return text, true
}

// unescape returns what escaped, which holds no bad escape, means.
func unescape(escaped string) string {
	out := make([]byte, 0, len(escaped))
	for escaped != "" {
		var c byte
		c, escaped, _ = next(escaped)
		out = append(out, c)
	}
	return string(out)
}
