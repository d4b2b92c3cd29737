// Package outcome is how attempts are judged and what the mesh calls its own
// answers: the class of an attempt (Class, Outcome, Result), who gives it
// (Classifier, HTTP, GRPC), whether a request can have had an effect (Unsent)
// and why the mesh itself ended a call (Reason).
//
// One judgement feeds everything: breaker, outlier detection, balancing,
// retries and telemetry see the same Outcome, so a service whose failures
// look unlike HTTP's needs one Classifier of its own and nothing else. Write
// one where a 200 can mean failure or a 500 can be expected; for the rest
// HTTP and GRPC are enough.
package outcome
