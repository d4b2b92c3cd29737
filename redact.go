package tulle

import (
	"github.com/tulle-mesh/tulle/internal/secret"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// redacted stands in State for a value that may be a secret: State is for the
// eyes of those who run the service, who need not know its keys.
const redacted = "(redacted)"

func redactFilters(f routing.Filters) routing.Filters {
	f = cloneFilters(f)
	lists := [][]routing.Field{f.Request.Set, f.Request.Add, f.Response.Set, f.Response.Add}
	if f.Direct != nil {
		lists = append(lists, f.Direct.Header)
	}
	for _, list := range lists {
		for i := range list {
			if secret.Name(list[i].Name) {
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
					if *s != "" && secret.Name(list[i].Name) {
						*s = redacted
					}
				}
			}
		}
	}
	return matches
}
