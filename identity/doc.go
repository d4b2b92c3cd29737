// Package identity says who took part in a call and whose words count.
//
// A [Principal] is who a verified peer or a verified token is. It travels in a
// request's context: what verifies puts it there with [NewContext], what routes,
// limits or authorises reads it with [FromContext]. A [Trust] says which peers'
// hints are honoured. [Claims] are what a verified token says besides, and travel
// beside the Principal with [WithClaims] and [ClaimsFrom].
//
// The package verifies nothing itself: a Principal is only as good as the check
// that made it. It is data and pure functions on the standard library.
package identity
