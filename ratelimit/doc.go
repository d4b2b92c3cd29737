// Package ratelimit limits how many requests there may be in a time, for every
// caller: an address, a principal, a claim of a token, a header.
//
// A [Limiter] made of a [Config] has one or several policies, such as ten in a
// second and a thousand in a day. A request is let through if all of them allow
// it, and only then charged, to all at once. The algorithm is GCRA: an even
// rate with a burst, exact, and one number for each bucket.
//
// Buckets lie in tables of fixed size, whatever keys callers think up. Keys
// that have used nothing of their burst need no room. When more keys than there
// is room for have, a new key takes over the bucket that lacks the least, with
// what it lacks. So a key that has exceeded its limit never gets out of it by
// being forgotten; and a key within its limit is refused at all only when
// those that share its set of 16 buckets have together been let through more
// than 16 times what one may, which takes a flood at MaxKeys times the rate.
//
// A decision of one policy takes 20 to 65 ns and allocates nothing; what decides
// it is how long the key takes to read. Several policies take the sum, less
// what they share. To decode a key, and to ask a Store, takes longer.
//
// The root package has a Config among its policies, on both sides of a call.
// Alone, [Limiter.Handler] wraps an http.Handler and [Limiter.Middleware] an
// http.RoundTripper, where requests can also wait for their turn. A [Store]
// shares buckets among processes.
//
// Limits are about what callers may, not about what a server can: they are set
// too high on the day the server is slow. A limit on concurrency protects that.
package ratelimit
