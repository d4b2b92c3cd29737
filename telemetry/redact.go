package telemetry

import (
	"net/url"
	"strings"

	"github.com/tulle-mesh/tulle/internal/secret"
)

// redacted stands for what is not to be seen.
const redacted = "REDACTED"

// redact returns a URL for those who watch, without its fragment, which is
// never sent.
//
// "url.full MUST NOT contain credentials passed via URL in form of
// https://username:password@www.example.com/. In such case username and
// password SHOULD be redacted" - semantic conventions for URL; the same goes
// for "known sensitive information" in the query.
func redact(u *url.URL) string {
	c := *u
	if c.User != nil {
		c.User = url.UserPassword(redacted, redacted)
	}
	c.Fragment, c.RawFragment = "", ""
	c.RawQuery = redactQuery(c.RawQuery)
	// In an opaque part a query or credentials cannot be told from the rest.
	if c.Opaque != "" {
		c.Opaque = redacted
	}
	return c.String()
}

// redactPath replaces the parts of an escaped path that stand for wildcards of
// its route whose names sound like secrets: "/reset/{token}". Nothing else in
// a path tells what it is.
func redactPath(path, route string) string {
	if !strings.Contains(route, "{") {
		return path
	}
	parts := strings.Split(path, "/")
	hidden := false
	for i, name := range strings.Split(route, "/") {
		name, wild := strings.CutPrefix(name, "{")
		if i >= len(parts) || !wild || !secret.Name(name) {
			continue
		}
		hidden, parts[i] = true, redacted
		if strings.HasSuffix(name, "...}") {
			parts = parts[:i+1]
		}
	}
	if !hidden {
		return path
	}
	return strings.Join(parts, "/")
}

// maxShown is how much of a text that a peer has chosen is shown, in bytes.
const maxShown = 1024

// shown returns what is shown of a text from a request: not more than there is
// use for, and only what exporters can write. One bad string in a batch of
// OTLP costs the whole batch.
func shown(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// redactQuery replaces the values of parameters whose names sound like
// secrets, or cannot be read, and leaves the rest as it is. It takes the
// semicolon for a separator as well: some servers do.
func redactQuery(raw string) string {
	if !strings.Contains(raw, "=") {
		return raw
	}
	var b strings.Builder
	for raw != "" {
		pair, sep := raw, ""
		if i := strings.IndexAny(raw, "&;"); i >= 0 {
			pair, sep = raw[:i], raw[i:i+1]
		}
		raw = raw[len(pair)+len(sep):]
		name, _, valued := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if valued && (err != nil || secret.Name(plain)) {
			pair = name + "=" + redacted
		}
		b.WriteString(pair + sep)
	}
	return b.String()
}
