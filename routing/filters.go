package routing

// Filters is what a rule does to a request and its response. The zero Filters do
// nothing. Use it as the Action of a rule for [Middleware] and [Handler], or
// within one.
type Filters struct {
	// Request changes the header of the request.
	Request HeaderEdit `json:"request,omitzero"`
	// Response changes the header of the response, of Redirect and Direct too.
	Response HeaderEdit `json:"response,omitzero"`
	// Rewrite changes what the request asks for.
	Rewrite *Rewrite `json:"rewrite,omitzero"`
	// Redirect answers the request. It excludes Request, Rewrite and Direct.
	Redirect *Redirect `json:"redirect,omitzero"`
	// Direct answers the request. It excludes Request, Rewrite and Redirect.
	Direct *Direct `json:"direct,omitzero"`
}

// IsZero reports whether f does nothing.
func (f Filters) IsZero() bool {
	return f.Request.IsZero() && f.Response.IsZero() && f.Rewrite == nil && f.Redirect == nil && f.Direct == nil
}

// Validate reports every fault of f, each with its path, such as
// "request.set[0].name: ...".
func (f Filters) Validate() error {
	var faults faults
	faults.under("request.", f.Request.Validate())
	faults.under("response.", f.Response.Validate())
	if f.Rewrite != nil {
		faults.under("rewrite.", f.Rewrite.Validate())
	}
	if f.Redirect != nil {
		faults.under("redirect.", f.Redirect.Validate())
	}
	if f.Direct != nil {
		faults.under("direct.", f.Direct.Validate())
	}
	if f.Redirect != nil && f.Direct != nil {
		faults.add("direct", "excludes redirect")
	}
	if f.Redirect != nil || f.Direct != nil {
		if !f.Request.IsZero() {
			faults.add("request", "has no effect where redirect or direct answers")
		}
		if f.Rewrite != nil {
			faults.add("rewrite", "has no effect where redirect or direct answers")
		}
	}
	return faults.err()
}
