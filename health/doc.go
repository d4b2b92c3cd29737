// Package health finds out which endpoints of a service should not be given
// calls: from the results of the calls made to them (Outliers, NewDetector)
// and by asking them (Probe, NewProber). It says what it thinks; who keeps
// the endpoints' availability acts on it, under one cap for all causes.
//
// Outlier detection costs nothing but what calls bring anyway, sees what
// calls see, and works within a second or two where there is traffic. It is
// for endpoints that answer badly or not at all while others answer well.
// Probes are for what traffic cannot tell: that an endpoint without traffic
// is up, that one is well again before a call is risked on it, or that it
// wants no calls though it answers them. Many services need the former alone,
// since every process probes every endpoint.
//
// Neither is for slowness, which is what load balancing is for, nor for a
// service that fails as a whole, which is what a circuit breaker is for.
package health
