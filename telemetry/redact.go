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
