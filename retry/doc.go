// Package retry makes the attempts of a call: the first, and where it is safe
// and likely to help, another.
//
// A Loop is made from a Policy and makes calls by a Tryer, which knows the
// endpoints. It bounds the time of an attempt (Policy.PerTry) and of the whole
// call (Options.Timeout), waits between attempts with full jitter or as long
// as Retry-After says, sends request bodies again, and lets a Budget that all
// calls of a service share decide whether the service can bear another
// attempt. When no attempt can follow, the caller gets the last response or
// error as it came.
//
// Use it where endpoints fail one by one and calls can be repeated: reads,
// PUT and DELETE, and whatever carries an Idempotency-Key. A request that may
// not be repeated is sent again only if it is certain that the endpoint never
// saw it.
//
// Do not use it at more than one layer of the same call path: attempts
// multiply. Do not use it against slowness alone; a retry takes longer than
// the wait it ends.
package retry
