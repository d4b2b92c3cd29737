// Package authn verifies bearer tokens: JSON Web Tokens (RFC 7519) that an
// issuer has signed and whose keys it publishes as a JSON Web Key Set (RFC
// 7517).
//
// A [Policy] names the issuers that are believed and binds each to its keys,
// algorithms, audiences and types of token. A [Verifier] made of it takes the
// token of a request, and answers who is calling, as an
// [identity.Principal] with [identity.Claims], or with an [*Error] that knows
// its status and its WWW-Authenticate field. [Verifier.Middleware] does that
// for an http.Handler alone; the root package has a place for it among its
// inbound stages.
//
// What a token must have is not left to the token: exp, iss and aud are
// required, the algorithm is that of the key and not that of the header, a
// key counts for its own issuer only, and what is ambiguous is refused: two
// members of one name, two Authorization fields, encodings that are not the
// canonical one, extensions that are critical, keys without a clear purpose.
// Only signatures by private keys are known. There are no shared secrets (HS256)
// and no unsigned tokens, since whoever can verify the former can make them.
//
// Key sets are fetched in the background, with little trust in those who
// serve them, and outlive their absence for a day. A request waits for keys
// only while there are none at all, or when it brings a key that nobody has
// heard of, and never longer than a few seconds. Verifiers that share
// [KeySets] share what has been fetched.
//
// The package is not for what needs more than a bearer: it does not decrypt
// tokens (JWE), does not look them up (RFC 7662), and does not prove the
// possession of a key (DPoP, RFC 8705): tokens that ask for that are refused.
package authn
