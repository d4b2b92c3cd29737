package routing

import (
	"net/http"

	"github.com/tulle-mesh/tulle/internal/form"
	"github.com/tulle-mesh/tulle/internal/respwriter"
)

// Handler returns a wrapper of handlers that applies table's filters to the
// requests they are given: what [Middleware] is to a client, it is to a server.
// A request that no rule matches passes as it is. RequestURI keeps what was asked
// for when a rule rewrites the path.
func Handler(table *Table[Filters]) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rule, hit := table.find(r)
			if hit == nil || rule.Action.IsZero() {
				next.ServeHTTP(w, r)
				return
			}
			rule.Action.serve(w, r, hit.prefix, next)
		})
	}
}

func (f *Filters) serve(w http.ResponseWriter, r *http.Request, prefix string, next http.Handler) {
	if answer := f.answer(r, prefix); answer != nil {
		next = answer
	} else {
		came := r
		r = f.apply(came, prefix)
		defer form.RemoveFiles(came, r)
	}
	if f.Response.IsZero() {
		next.ServeHTTP(w, r)
		return
	}
	e := &editor{edit: f.Response}
	next.ServeHTTP(e.writer.Wrap(w, e), r)
	e.writer.Finish()
}

// editor edits the header of a response just before it is sent.
type editor struct {
	writer respwriter.Writer
	edit   HeaderEdit
}

// BeforeHeader implements respwriter.Hook.
func (e *editor) BeforeHeader(h http.Header, _ int) { e.edit.Apply(h) }
