package outcome

import (
	"context"
	"errors"
	"net/http"
	"strconv"
)

// Classifier judges attempts. Implementations are comparable values, safe for
// concurrent use, and neither block nor keep what they are given.
type Classifier interface {
	// Classify judges at the headers: it gets either a response, whose body
	// it must not touch, or the error of the attempt.
	Classify(*http.Response, error) Outcome
}

// EndClassifier is a Classifier that looks again when the body has ended,
// with its trailers in place. err is nil when the body was read to its end, and
// the error of the body otherwise; of a body that its reader closes early
// nothing is learnt, and nobody asks. The given Outcome is the one from the headers; returning it unchanged says that
// nothing new was learnt.
type EndClassifier interface {
	Classifier
	ClassifyEnd(Outcome, *http.Response, error) Outcome
}

// HTTP judges by the status code, see Class. It is the default.
type HTTP struct{}

// Classify implements Classifier.
func (HTTP) Classify(resp *http.Response, err error) Outcome {
	if err != nil || resp == nil {
		return ofError(err)
	}
	o := Outcome{Class: Success, Status: resp.StatusCode}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		o.Class = Overload
	case resp.StatusCode < 500:
	case resp.StatusCode >= 502 && resp.StatusCode <= 504:
		o.Class = Gateway
	default:
		o.Class = ServerError
	}
	return o
}

// ClassifyEnd implements EndClassifier: a body that breaks off is a Reset.
func (HTTP) ClassifyEnd(o Outcome, _ *http.Response, err error) Outcome {
	return brokenBody(o, err)
}

// GRPC judges by the grpc-status of the trailers, or of the headers where the
// response has nothing else ("Trailers-Only"), and by HTTP where there is no
// grpc-status. Codes that blame the request or the caller are no failure.
type GRPC struct{}

// Classify implements Classifier.
func (GRPC) Classify(resp *http.Response, err error) Outcome {
	o := HTTP{}.Classify(resp, err)
	if resp != nil && err == nil {
		o.Class = grpcClass(resp.Header, o.Class)
	}
	return o
}

// ClassifyEnd implements EndClassifier.
func (GRPC) ClassifyEnd(o Outcome, resp *http.Response, err error) Outcome {
	if err != nil {
		return brokenBody(o, err)
	}
	o.Class = grpcClass(resp.Trailer, o.Class)
	return o
}

// ofError judges an attempt that ended without a response.
func ofError(err error) Outcome {
	_, ownBody := errors.AsType[*RequestBodyError](err)
	switch unsent := Unsent(err); {
	case err == nil || ownBody || errors.Is(err, context.Canceled):
		return Outcome{Class: Neutral, Unsent: unsent}
	case unsent:
		return Outcome{Class: Connect, Unsent: true}
	case timedOut(err):
		return Outcome{Class: Timeout}
	default:
		return Outcome{Class: Reset}
	}
}

func brokenBody(o Outcome, err error) Outcome {
	_, ownBody := errors.AsType[*RequestBodyError](err)
	switch {
	case err == nil || o.Class.Failed():
	case ownBody || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		// The caller broke off, or ran out of time or interest; how long a
		// body takes is not a promise of the endpoint.
	case timedOut(err):
		o.Class = Timeout
	default:
		o.Class = Reset
	}
	return o
}

// grpcClass maps the grpc-status of h, if there is one, to a class. The codes
// are those of the gRPC specification, "Status codes and their use in gRPC".
func grpcClass(h http.Header, otherwise Class) Class {
	v := h["Grpc-Status"]
	if len(v) == 0 {
		return otherwise
	}
	code, err := strconv.ParseUint(v[0], 10, 8)
	if err != nil {
		return ServerError
	}
	switch code {
	case 1: // CANCELLED
		return Neutral
	case 4: // DEADLINE_EXCEEDED
		return Timeout
	case 8: // RESOURCE_EXHAUSTED
		return Overload
	case 14: // UNAVAILABLE
		return Gateway
	case 2, 12, 13, 15: // UNKNOWN, UNIMPLEMENTED, INTERNAL, DATA_LOSS
		return ServerError
	default: // OK and what blames the request
		if code > 16 {
			return ServerError
		}
		return Success
	}
}
