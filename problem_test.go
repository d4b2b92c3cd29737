package tulle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// Every reason has its answer: a problem with status, phrase and reason, marked
// as the mesh's own, with the time when to come back, and without the cause.
func TestWriteErrorForEveryReason(t *testing.T) {
	for _, reason := range append(outcome.Reasons(), outcome.NoReason, 200) {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(method+" "+reason.String(), func(t *testing.T) {
				w := httptest.NewRecorder()
				for _, name := range []string{"Content-Encoding", "ETag", "Last-Modified", "Content-Length"} {
					w.Header().Set(name, "of another answer")
				}
				tulle.WriteError(w, httptest.NewRequest(method, "/", nil), fmt.Errorf("handler: %w", &tulle.Error{
					Reason: reason, Service: "hidden", Endpoint: "10.0.0.1:80", RetryAfter: 10 * time.Millisecond, Err: errors.New("secret"),
				}))
				want := reason
				if reason.Status() < 400 || reason == 200 {
					want = outcome.Internal // what is no error must not look like success
				}
				assert.Equal(t, want.Status(), w.Code)
				assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
				assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				assert.Contains(t, w.Header().Get("Proxy-Status"), "error="+want.ProxyStatus())
				for _, name := range []string{"Content-Encoding", "ETag", "Last-Modified"} {
					assert.Empty(t, w.Header().Get(name))
				}
				if want == reason {
					assert.Equal(t, "1", w.Header().Get("Retry-After"), "never 0")
				}
				assert.NotContains(t, w.Header(), "Www-Authenticate")
				if method == "HEAD" {
					assert.Empty(t, w.Body.String())
					return
				}
				assert.Equal(t, strconv.Itoa(w.Body.Len()), w.Header().Get("Content-Length"))
				var p map[string]any
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
				title := http.StatusText(w.Code)
				if w.Code == 499 {
					title = "Client Closed Request"
				}
				assert.Equal(t, map[string]any{
					"type": "about:blank", "title": title, "status": float64(w.Code), "detail": want.Text(), "reason": want.String(),
				}, p)
			})
		}
	}
}

// Errors of all kinds have their reason, wherever in a chain they are.
func TestWriteErrorForEveryKindOfError(t *testing.T) {
	over := func(d time.Duration) *overload.Error { return &overload.Error{RetryAfter: d} }
	for name, row := range map[string]struct {
		err    error
		reason outcome.Reason
		retry  string
	}{
		"nothing":                {nil, outcome.Internal, ""},
		"anything":               {errors.New("secret"), outcome.Internal, ""},
		"deadline":               {context.DeadlineExceeded, outcome.CallerDeadline, ""},
		"slow body":              {os.ErrDeadlineExceeded, outcome.CallerDeadline, ""},
		"cancelled":              {context.Canceled, outcome.Cancelled, ""},
		"too large":              {&http.MaxBytesError{Limit: 1}, outcome.TooLarge, ""},
		"overloaded":             {over(3 * time.Second), outcome.Overloaded, "3"},
		"limited":                {&ratelimit.Error{Policy: "p", Violated: []string{"p"}, RetryAfter: time.Millisecond}, outcome.RateLimited, "1"},
		"limited for good":       {&ratelimit.Error{Policy: "p", Violated: []string{"p"}}, outcome.RateLimited, ""},
		"store failed":           {&ratelimit.Error{Err: errors.New("secret")}, outcome.Undecided, "1"},
		"no token":               {&authn.Error{Kind: authn.Missing}, outcome.Unauthenticated, ""},
		"two tokens":             {&authn.Error{Kind: authn.Repeated}, outcome.BadRequest, ""},
		"bad token":              {&authn.Error{Kind: authn.BadSignature, Detail: "secret"}, outcome.Unauthenticated, ""},
		"scope":                  {&authn.Error{Kind: authn.InsufficientScope}, outcome.Forbidden, ""},
		"no keys":                {&authn.Error{Kind: authn.KeysUnavailable, Err: errors.New("secret")}, outcome.Undecided, "1"},
		"no keys for some time":  {&authn.Error{Kind: authn.KeysUnavailable, RetryAfter: 90 * time.Second}, outcome.Undecided, "90"},
		"an error of the mesh":   {&tulle.Error{Reason: outcome.BreakerOpen, RetryAfter: 1500 * time.Millisecond}, outcome.BreakerOpen, "2"},
		"the mesh ran into time": {&tulle.Error{Reason: outcome.CallTimeout, Err: context.DeadlineExceeded}, outcome.CallTimeout, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.err
			if err != nil {
				err = fmt.Errorf("handler: %w", err)
			}
			w := httptest.NewRecorder()
			tulle.WriteError(w, httptest.NewRequest("GET", "/", nil), err)
			assert.Equal(t, row.reason.String(), problem(t, w))
			assert.Equal(t, row.reason.Status(), w.Code)
			assert.Equal(t, row.retry, w.Header().Get("Retry-After"))
			assert.NotContains(t, w.Body.String(), "secret")
		})
	}
}

// Callers whose tokens are refused are told what they can do, and no more.
func TestInboundChallenges(t *testing.T) {
	scoped := tokens()
	scoped.Scopes, scoped.Realm = []string{"read"}, "shop"
	h := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: scoped}}).Handler(&handled{})
	twice := func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer a", "Bearer b"} }
	for name, row := range map[string]struct {
		how       visitor
		reason    string
		status    int
		challenge string
	}{
		"none":  {func(*http.Request) {}, "unauthenticated", 401, `Bearer realm="shop"`},
		"bad":   {bearer("bad"), "unauthenticated", 401, `Bearer realm="shop", error="invalid_token", error_description="the token is not accepted"`},
		"scope": {bearer(tokenOf("alice", nil)), "forbidden", 403, `Bearer realm="shop", error="insufficient_scope", error_description="the token lacks a scope", scope="read"`},
		"two":   {twice, "bad_request", 400, `Bearer realm="shop", error="invalid_request", error_description="there is more than one token"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := visit(h, "GET /", "", row.how)
			assert.Equal(t, row.reason, problem(t, w))
			assert.Equal(t, row.status, w.Code)
			assert.Equal(t, []string{row.challenge}, w.Header().Values("WWW-Authenticate"))
		})
	}
	assert.Equal(t, 200, visit(h, "GET /", "", bearer(tokenOf("alice", map[string]any{"scope": "read"}))).Code)
}

// Where keys cannot be had, nobody knows, and it is nobody's fault. Whoever
// may come without a token still may.
func TestInboundWithoutKeys(t *testing.T) {
	inBubble(t, func(w *world) {
		remote := &authn.Policy{Issuers: []authn.Issuer{{
			Issuer: tokenIssuer, Audiences: []string{"reviews"}, JWKSURL: "https://issuer.test/jwks",
			Transport: &http.Transport{DialContext: w.net.DialContext},
		}}}
		m := inbound(w, tulle.Inbound{Guard: tulle.Guard{Authn: remote, Anonymous: &tulle.Anonymous{}}})
		h := m.Handler(&handled{})
		rec := visit(h, "GET /", "", bearer(tokenOf("alice", nil)))
		require.Equal(w, "undecided", problem(w, rec))
		require.Equal(w, 503, rec.Code)
		require.NotContains(w, []string{"", "0"}, rec.Header().Get("Retry-After"))
		require.Empty(w, rec.Header().Get("WWW-Authenticate"))
		require.Equal(w, 200, visit(h, "GET /", "").Code)
		require.NoError(w, m.Shutdown(w.Context()))
	})
}

// What answers can be replaced, with the fields for the caller set; if it
// answers nothing the status is that of the reason.
func TestWithErrorWriter(t *testing.T) {
	var got *tulle.Error
	silent := false
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{
		Authn: tokens(), RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{never(ratelimit.Key{Source: true})}},
	}}, tulle.WithErrorWriter(func(w http.ResponseWriter, _ *http.Request, e *tulle.Error) {
		got = e
		if !silent {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	h := m.Handler(&handled{})
	w := visit(h, "GET /", "")
	assert.Equal(t, http.StatusTeapot, w.Code)
	assert.Empty(t, w.Body.String())
	assert.Equal(t, `Bearer realm="restricted"`, w.Header().Get("WWW-Authenticate"))
	assert.Equal(t, outcome.Unauthenticated, got.Reason)
	cause, ok := errors.AsType[*authn.Error](got)
	require.True(t, ok, "the cause is for the writer to see")
	assert.Equal(t, authn.Missing, cause.Kind)

	silent = true
	w = visit(h, "GET /", "")
	assert.Equal(t, http.StatusTooManyRequests, w.Code)
	assert.Equal(t, "3600", w.Header().Get("Retry-After"))
	assert.EqualValues(t, 1, m.State().Inbound.Calls.Reasons[outcome.RateLimited])
}
