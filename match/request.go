package match

// Request is a set of conditions on a request. Every condition that is set must
// hold; within Hosts, Methods and Principals any one of the list is enough. The
// zero Request matches every request.
type Request struct {
	// Hosts are the names the request may be for. "reviews" matches on any port,
	// "reviews:9080" on that port only; a request that names no port has the
	// default port of its scheme. "*.example.com" matches names with one or more
	// labels in front of ".example.com", not "example.com" itself. Case and a
	// trailing dot are ignored. IPv6 literals stand in brackets, or alone when
	// there is no port. What a request is for is said by [CanonicalHost].
	Hosts []string `json:"hosts,omitzero"`
	// Path is a condition on the path.
	Path Path `json:"path,omitzero"`
	// Methods are compared exactly, case included. HEAD is not GET.
	Methods []string `json:"methods,omitzero"`
	// Headers are conditions on header fields, which must all hold. The name is
	// compared without regard to case. Several fields of one name are one value,
	// joined with "," as RFC 9110 section 5.2 says and Gateway API recommends.
	// The Host field is not a header here: use Hosts.
	Headers []Value `json:"headers,omitzero"`
	// Query are conditions on parameters of the URL's query, which must all
	// hold. Names and values are compared after decoding, case included. Of
	// several parameters of one name the first counts. As in [net/url.ParseQuery],
	// parameters that cannot be decoded or contain a semicolon do not exist.
	Query []Value `json:"query,omitzero"`
	// Principals are names of verified principals ([identity.Principal.Name]),
	// compared whole. A request whose context carries none does not match.
	Principals []string `json:"principals,omitzero"`
}

// Path is a condition on a request's canonical path (see the package
// documentation). At most one field may be set; the zero Path matches every path.
type Path struct {
	// Exact is the whole path. "/one" does not match "/one/".
	Exact string `json:"exact,omitzero"`
	// Prefix is the beginning of the path by whole segments: "/v1" matches "/v1",
	// "/v1/" and "/v1/x" but not "/v12". A slash at its end makes no difference.
	Prefix string `json:"prefix,omitzero"`
	// Regex is an RE2 expression that must match the whole path.
	Regex string `json:"regex,omitzero"`
}

// Value is a condition on the value of a header field or query parameter. At
// most one of Exact, Prefix and Regex may be set; with none of them the name
// must be present, with whatever value, the empty one included.
type Value struct {
	// Name is the name of the header field or query parameter.
	Name string `json:"name,omitzero"`
	// Exact is the whole value. To ask for an empty value use Regex "^$".
	Exact string `json:"exact,omitzero"`
	// Prefix is the beginning of the value.
	Prefix string `json:"prefix,omitzero"`
	// Regex is an RE2 expression that must match the whole value.
	Regex string `json:"regex,omitzero"`
	// Not inverts the condition. A name that is absent does not fulfil the
	// positive condition, so it fulfils the inverted one: {Name: "X-Beta",
	// Exact: "on", Not: true} matches requests without X-Beta, and
	// {Name: "X-Beta", Not: true} matches only those.
	Not bool `json:"not,omitzero"`
}
