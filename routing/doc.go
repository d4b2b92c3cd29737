// Package routing decides what happens to a request by its host, path, method,
// headers, query and principal.
//
// A [Table] is compiled once from a list of [Rule]s and finds the rule for a
// request without allocating, at a cost that does not grow with the number of
// rules. It is generic in what a rule leads to, so a gateway may keep handlers in
// it, a client destinations, and a server policies.
//
// What a rule may lead to is here too: a [Split] divides requests in fixed
// proportions, [HeaderEdit] and [Rewrite] change a request on its way,
// [Redirect] and [Direct] answer it. [Filters] bundles them, and [Middleware] and
// [Handler] apply them alone, without the rest of a mesh.
//
// # Precedence
//
// When several matches hold for a request, the one that wins is decided as for
// HTTPRoute of the Kubernetes Gateway API. Each [match.Request] of each rule
// stands for itself, once per host it lists. The first difference decides:
//
//  1. the host: an exact name before a wildcard, a longer wildcard before a
//     shorter one, any of them before no host; for the same name, one with a port
//     before one without;
//  2. the path: exact, then the longest prefix, then an expression, then none.
//     The prefix "/" says nothing about the path and counts as none, so that a
//     rule for everything else does not hide expressions. All expressions rank
//     equal: their length says nothing about how much they match;
//  3. a condition on the method before none;
//  4. more conditions on headers;
//  5. more conditions on the query;
//  6. a condition on the principal before none (not in the Gateway API);
//  7. the order of the rules, then of the matches in a rule.
//
// The table does not depend on the order of rules except by 7. Use a list and
// package match when the first match in a list is to win, as in access rules.
package routing
