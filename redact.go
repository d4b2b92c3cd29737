package tulle

import (
	"strings"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// redacted stands in State for a value that may be a secret.
const redacted = "(redacted)"

// secret reports whether what is called so is likely to be a secret. State is
// for the eyes of those who run the service, who need not know its keys.
func secret(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"auth", "bearer", "cookie", "credential", "jwt", "key", "pass", "secret", "session", "sig", "token"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

func redactFilters(f routing.Filters) routing.Filters {
	f = cloneFilters(f)
	lists := [][]routing.Field{f.Request.Set, f.Request.Add, f.Response.Set, f.Response.Add}
	if f.Direct != nil {
		lists = append(lists, f.Direct.Header)
	}
	for _, list := range lists {
		for i := range list {
			if secret(list[i].Name) {
				list[i].Value = redacted
			}
		}
	}
	return f
}

func redactMatches(matches []match.Request) []match.Request {
	matches = cloneMatches(matches)
	for _, m := range matches {
		for _, list := range [][]match.Value{m.Headers, m.Query} {
			for i := range list {
				for _, s := range []*string{&list[i].Exact, &list[i].Prefix, &list[i].Regex} {
					if *s != "" && secret(list[i].Name) {
						*s = redacted
					}
				}
			}
		}
	}
	return matches
}
