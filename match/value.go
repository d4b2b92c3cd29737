package match

import (
	"net/http"
	"regexp"
	"strings"
)

// valueMatcher is a compiled Value.
type valueMatcher struct {
	Value
	regex *regexp.Regexp
}

// matches judges one text.
func (m *valueMatcher) matches(text string) bool {
	switch {
	case m.regex != nil:
		return m.regex.MatchString(text)
	case m.Exact != "":
		return text == m.Exact
	}
	return strings.HasPrefix(text, m.Prefix)
}

// header judges the fields of header named m.Name, which is canonical.
func (m *valueMatcher) header(header http.Header) bool {
	return m.positiveHeader(header[m.Name]) != m.Not
}

func (m *valueMatcher) positiveHeader(fields []string) bool {
	switch {
	case len(fields) == 0:
		return false
	case len(fields) == 1:
		return m.matches(fields[0])
	case m.regex != nil:
		return m.regex.MatchString(strings.Join(fields, ","))
	case m.Exact != "":
		rest, all := cutJoined(m.Exact, fields)
		return all && rest == ""
	}
	rest, _ := cutJoined(m.Prefix, fields)
	return rest == ""
}

// cutJoined compares text with the fields joined with "," without joining them.
// It returns what of text is left where either ends or they differ, and whether
// all of the fields was found in text.
func cutJoined(text string, fields []string) (rest string, all bool) {
	for i, field := range fields {
		if i > 0 {
			if text == "" || text[0] != ',' {
				return text, false
			}
			text = text[1:]
		}
		if len(text) < len(field) {
			if strings.HasPrefix(field, text) {
				return "", false
			}
			return text, false
		}
		if text[:len(field)] != field {
			return text, false
		}
		text = text[len(field):]
	}
	return text, true
}

// parameter judges the query parameter named m.Name.
func (m *valueMatcher) parameter(rawQuery string) bool {
	return m.positiveParameter(rawQuery) != m.Not
}

func (m *valueMatcher) positiveParameter(rawQuery string) bool {
	value, found := findParameter(rawQuery, m.Name)
	if !found {
		return false
	}
	if !isEscaped(value) {
		return m.matches(value)
	}
	switch {
	case m.regex != nil:
		return m.regex.MatchString(unescape(value))
	case m.Exact != "":
		rest, all := cutEscaped(m.Exact, value)
		return all && rest == ""
	}
	rest, _ := cutEscaped(m.Prefix, value)
	return rest == ""
}
