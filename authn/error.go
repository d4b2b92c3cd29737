package authn

import (
	"fmt"
	"net/http"
	"time"
)

// Kind says why a request was not authenticated.
type Kind uint8

const (
	// Missing: there is no bearer token. Whoever lets requests pass without
	// one lets this kind pass and no other.
	Missing Kind = iota + 1
	// Repeated: there is more than one field that could hold the token.
	Repeated
	// Malformed: it is no token, or one with extensions that are not known.
	Malformed
	// WrongType: it is a token for something else, by its typ.
	WrongType
	// WrongAlgorithm: it is not signed by an algorithm of its issuer or of
	// its key.
	WrongAlgorithm
	// UnknownIssuer: its issuer is none of the policy.
	UnknownIssuer
	// UnknownKey: its issuer has no such key.
	UnknownKey
	// BadSignature: it was not signed by that key, or was changed since.
	BadSignature
	// Expired: its time is over.
	Expired
	// NotYetValid: its time has not come.
	NotYetValid
	// TooLongLived: it is valid for longer than the policy lets it.
	TooLongLived
	// WrongAudience: it is for somebody else.
	WrongAudience
	// InsufficientScope: it is good, and does not have every scope required.
	InsufficientScope
	// KeysUnavailable: the keys of its issuer are not known, so nobody can
	// tell. It is no fault of the caller's.
	KeysUnavailable
	numKinds
)

// kindRow is what there is to say about a Kind.
type kindRow struct {
	name   string
	status int
	// code is the error of RFC 6750, section 3.1.
	code string
	// text is for callers: an attacker learns nothing from it.
	text string
	log  string
}

const refused = "the token is not accepted"

var kinds = [numKinds]kindRow{
	Missing:           {"missing", http.StatusUnauthorized, "", "a bearer token is required", "no token"},
	Repeated:          {"repeated", http.StatusBadRequest, "invalid_request", "there is more than one token", "more than one token"},
	Malformed:         {"malformed", http.StatusUnauthorized, "invalid_token", refused, "malformed token"},
	WrongType:         {"wrong_type", http.StatusUnauthorized, "invalid_token", refused, "token of another type"},
	WrongAlgorithm:    {"wrong_algorithm", http.StatusUnauthorized, "invalid_token", refused, "token with another algorithm"},
	UnknownIssuer:     {"unknown_issuer", http.StatusUnauthorized, "invalid_token", refused, "token of an unknown issuer"},
	UnknownKey:        {"unknown_key", http.StatusUnauthorized, "invalid_token", refused, "token of an unknown key"},
	BadSignature:      {"bad_signature", http.StatusUnauthorized, "invalid_token", refused, "token with a bad signature"},
	Expired:           {"expired", http.StatusUnauthorized, "invalid_token", "the token has expired", "expired token"},
	NotYetValid:       {"not_yet_valid", http.StatusUnauthorized, "invalid_token", "the token is not valid yet", "token not valid yet"},
	TooLongLived:      {"too_long_lived", http.StatusUnauthorized, "invalid_token", refused, "token valid for too long"},
	WrongAudience:     {"wrong_audience", http.StatusUnauthorized, "invalid_token", refused, "token for another audience"},
	InsufficientScope: {"insufficient_scope", http.StatusForbidden, "insufficient_scope", "the token lacks a scope", "token lacks a scope"},
	KeysUnavailable:   {"keys_unavailable", http.StatusServiceUnavailable, "", "tokens cannot be verified at present", "no keys to verify tokens with"},
}

// row takes a Kind that does not exist for a token that is none.
func (k Kind) row() kindRow {
	if k == 0 || k >= numKinds {
		k = Malformed
	}
	return kinds[k]
}

// String returns the kind as a lower-case word fit for a metric label.
func (k Kind) String() string { return k.row().name }

// MarshalText makes a Kind readable in snapshots and as a map key.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Error is why a request was not authenticated.
type Error struct {
	Kind Kind
	// Issuer is the issuer of the policy that the token names, if it does.
	// Whether it has really issued the token is another matter.
	Issuer string
	// Detail is for those who run the server, and may quote parts of what the
	// caller sent, though never the token.
	Detail string
	// RetryAfter is when it may be worth asking again, for KeysUnavailable.
	RetryAfter time.Duration
	// Err is what came in between, if anything did.
	Err error

	challenge string
}

// Error returns a sentence for logs, with all that is known. What a caller may
// know is Text.
func (e *Error) Error() string {
	s := "authn: " + e.Kind.row().log
	if e.Issuer != "" {
		s += " of " + e.Issuer
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Text returns a sentence for the caller. It tells apart only what a caller
// can do something about.
func (e *Error) Text() string { return e.Kind.row().text }

// Status returns the status of the answer: 401, of a token that lacks a scope
// 403, of a request with several tokens 400, without keys 503.
func (e *Error) Status() int { return e.Kind.row().status }

// Challenge returns the value of the answer's field WWW-Authenticate, as RFC
// 6750 has it, "" if there is to be none.
func (e *Error) Challenge() string { return e.challenge }

// challenge returns the field of section 3 of RFC 6750. Without a token "the
// resource server SHOULD NOT include an error code".
func challenge(k Kind, realm, scope string) string {
	row := k.row()
	switch {
	case row.status == http.StatusServiceUnavailable:
		return ""
	case row.code == "":
		return fmt.Sprintf("Bearer realm=%q", realm)
	case k == InsufficientScope:
		return fmt.Sprintf("Bearer realm=%q, error=%q, error_description=%q, scope=%q", realm, row.code, row.text, scope)
	}
	return fmt.Sprintf("Bearer realm=%q, error=%q, error_description=%q", realm, row.code, row.text)
}
