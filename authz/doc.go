// Package authz decides who may do what: rules that allow and rules that deny,
// over the caller's verified principal and claims, the network it calls from,
// the method, host and path it asks for, and header fields. Their meaning is
// that of Istio's AuthorizationPolicy in its first form, ALLOW and DENY:
//
//  1. If any Deny rule matches, the request is denied.
//  2. If there is no Allow rule, it is allowed.
//  3. If any Allow rule matches, it is allowed.
//  4. Else it is denied.
//
// The order of rules makes no difference to what is allowed, only to which rule
// is named. A rule without conditions matches every request. Two forms are
// therefore worth knowing:
//
//	{Name: "nobody", Action: authz.Deny}     // denies everything
//	{Name: "everybody", Action: authz.Allow} // allows what no Deny rule denies
//
// A [Policy] without any rule is a fault: it would allow everything, and most who
// write it mean the opposite. So is a list that is empty but not nil, such as
// Principals made from a file that was empty, because a condition that is left
// out matches everything.
//
// # Doubt
//
// A proxy that matched "/admin" literally let "//admin", "/x/..;/admin" or
// "/%61dmin" through to a handler that read them as "/admin"; one that cleaned
// paths first let "/admin/%2e%2e/public" through to a handler that did not. No
// single reading is the safe one, because nobody here knows how the handler
// reads. So conditions have three answers: yes, no, and in doubt. What is in
// doubt counts against the caller, for Deny rules and not for Allow rules:
//
//   - A Deny rule matches unless a condition is surely not met.
//   - An Allow rule matches only if every condition is surely met.
//
// These are in doubt:
//
//   - Paths: every condition on a path that has more than one reading. A path
//     has one reading if, once decoded, it begins with a slash, is UTF-8, has no
//     empty and no dot segments, and has none of these: an encoded slash, "%",
//     "\", ";", "?", "#", control characters; and if none of its letters, digits
//     and "-._~" came percent-encoded, which honest clients never do (RFC 3986,
//     section 2.3). An empty path is "/" (section 6.2.3), except for CONNECT;
//     "*" is no path. An exact path is in doubt where only a slash at the end
//     differs, which many routers disregard.
//   - Methods: one in another case ("get"), and HEAD where GET is listed and HEAD
//     is not: net/http answers HEAD by the handler of GET.
//   - Hosts: a request without a valid host, or with two different ones, and a
//     listed host that was sent in another case, with a dot at its end, or an
//     address in another form: http.ServeMux takes those for other hosts.
//   - Headers: a listed value that comes in several fields of the name, or as one
//     element of a list.
//   - Every condition that excludes (NotPrincipals, NotNetworks, NotValues of a
//     claim), if there is no principal, address or claim to be excluded. Hence
//     an anonymous request meets no condition on principals, not even
//     NotPrincipals, for Allow, while Deny with NotPrincipals denies it.
//
// Thus a request with a dubious path is never allowed because of its path, and is
// denied by every Deny rule on paths whose other conditions it meets. A request
// that no condition on paths can decide is unaffected. APIs whose paths hold
// encoded slashes must be allowed by rules without paths.
//
// # Use
//
// [Authorizer.Middleware] wraps an http.Handler. It must come after what puts
// the principal and claims into the request's context, see package identity, and
// before anything that changes the URL. It answers 403 and tells the caller
// nothing more; 401 is the business of whoever authenticates. Under Observe, the
// dry run, everything passes, and [Authorizer.Stats] count what would have been
// denied and how much of that succeeded.
//
// It is not for questions about the data: whether this order is this user's, only
// the handler knows. Hosts and headers are what the caller says, so they tell
// apart and prove nothing. The same goes for X-HTTP-Method-Override: where a
// handler heeds it, rules on methods are worth nothing. Paths are compared by
// case and by bytes; a handler that disregards case or Unicode forms needs
// rules that do not depend on paths.
package authz
