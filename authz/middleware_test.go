package authz_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

// shop lets everybody look and staff alone write.
func shop(mode outcome.Mode) authz.Policy {
	return authz.Policy{Mode: mode, Rules: []authz.Rule{
		{Name: "look-secret", Action: authz.Allow, To: []authz.Operation{{Methods: []string{"GET"}}}},
		{Name: "blocked-secret", Action: authz.Deny, To: []authz.Operation{{Paths: []authz.Path{{Prefix: "/blocked"}}}}},
	}}
}

func TestMiddleware(t *testing.T) {
	a, err := authz.New(shop(outcome.Enforce))
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	h := a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { served++; w.WriteHeader(http.StatusTeapot) }))
	var refusals []string
	for _, line := range []string{"GET /", "POST /", "GET /blocked/x", "GET //blocked", "HEAD /"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, parse(t, line))
		if line == "GET /" {
			if w.Code != http.StatusTeapot || served != 1 {
				t.Errorf("%s: %d", line, w.Code)
			}
			continue
		}
		if w.Code != http.StatusForbidden || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %v", line, w.Code, w.Header())
		}
		var problem struct {
			Type, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != http.StatusForbidden || problem.Type != "about:blank" || problem.Title != "Forbidden" || problem.Detail == "" {
			t.Errorf("%s: %v, %s", line, err, w.Body)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: the caller learns the rule: %s", line, w.Body)
		}
		refusals = append(refusals, w.Body.String())
	}
	for _, body := range refusals[1:] {
		if body != refusals[0] {
			t.Errorf("refusals can be told apart: %s, %s", refusals[0], body)
		}
	}
	if served != 1 {
		t.Errorf("%d requests have reached the handler", served)
	}
}

func TestDeniedError(t *testing.T) {
	a := newAuthorizer(t, shop(outcome.Enforce).Rules...)
	for line, want := range map[string]string{
		"GET /":          "",
		"POST /":         "denied: no rule allows the request",
		"GET /blocked":   `denied by rule "blocked-secret"`,
		"GET //x":        `denied by rule "blocked-secret", by doubt about what it asks for`,
		"HEAD /":         "denied: no rule allows the request, by doubt about what it asks for",
		"GET /blocked%2": "",
	} {
		r, err := read(line)
		if err != nil {
			continue
		}
		err = a.Decide(r).Err()
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			continue
		}
		denied, ok := errors.AsType[*authz.DeniedError](err)
		if !ok || err.Error() != want || denied.Reason() != outcome.Forbidden {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

// TestObserve: everything passes, and what Enforce would have denied is counted
// with what became of it.
func TestObserve(t *testing.T) {
	a, err := authz.New(shop(outcome.Observe))
	if err != nil {
		t.Fatal(err)
	}
	h := a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Do") {
		case "fail":
			w.WriteHeader(http.StatusNotFound)
		case "panic":
			panic(http.ErrAbortHandler)
		case "hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusInternalServerError)
		case "move":
			w.WriteHeader(http.StatusFound)
		case "write":
			_, _ = w.Write([]byte("ok"))
		}
	}))
	codes := map[int]int{}
	for _, c := range []struct{ line, do string }{
		{"GET /", ""}, {"GET /", "fail"},
		{"POST /", ""}, {"POST /", "fail"}, {"POST /", "write"}, {"POST /", "panic"},
		{"GET /blocked", "move"}, {"GET /blocked", "hints"}, {"GET /blocked", "fail"},
	} {
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if p := recover(); (p != nil) != (c.do == "panic") {
					t.Errorf("%+v: panic %v", c, p)
				}
			}()
			h.ServeHTTP(w, parse(t, c.line, "Do: "+c.do))
		}()
		codes[w.Code]++
	}
	if codes[http.StatusForbidden] != 0 {
		t.Errorf("Observe refuses: %v", codes)
	}
	got := a.Stats()
	want := authz.Stats{
		Rules: []authz.RuleStats{
			{Name: "look-secret", Action: authz.Allow, Counts: authz.Counts{Matched: 2}},
			{Name: "blocked-secret", Action: authz.Deny, Counts: authz.Counts{Matched: 3, WouldDeny: 3, Succeeded: 1}},
		},
		Unmatched: authz.Counts{Matched: 4, WouldDeny: 4, Succeeded: 2},
	}
	if g, w := text(got), text(want); g != w {
		t.Errorf("got %s\nwant %s", g, w)
	}

	// The control: Enforce decides the same, and refuses.
	e := newAuthorizer(t, shop(outcome.Enforce).Rules...)
	for range 3 {
		d, o := e.Decide(parse(t, "GET /blocked")), a.Decide(parse(t, "GET /blocked"))
		if d.Allowed || d.WouldDeny || !o.Allowed || !o.WouldDeny || o.Rule != d.Rule || o.Err() != nil {
			t.Errorf("enforce %+v, observe %+v", d, o)
		}
		d.Done(http.StatusOK)
	}
	if c := e.Stats().Rules[1].Counts; c != (authz.Counts{Matched: 3, Denied: 3}) {
		t.Errorf("enforce counts %+v", c)
	}
}

// A connection that the handler takes over counts as a success.
func TestObserveHijacked(t *testing.T) {
	a, err := authz.New(shop(outcome.Observe))
	if err != nil {
		t.Fatal(err)
	}
	h := a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
		_ = conn.Close()
	}))
	returned := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	resp, err := http.Post(server.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	<-returned
	if got := a.Stats().Unmatched; got != (authz.Counts{Matched: 1, WouldDeny: 1, Succeeded: 1}) {
		t.Errorf("%+v", got)
	}
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// TestStats: every request is counted once, by whoever decided, under load too.
func TestStats(t *testing.T) {
	a := newAuthorizer(t, shop(outcome.Enforce).Rules...)
	var wg sync.WaitGroup
	for range 8 {
		look, write, blocked := parse(t, "GET /"), parse(t, "POST /"), parse(t, "GET /blocked")
		wg.Go(func() {
			for range 100 {
				a.Decide(look)
				a.Decide(write)
				a.Decide(blocked)
			}
		})
	}
	wg.Wait()
	const want = `{"rules":[{"name":"look-secret","action":"allow","matched":800,"denied":0,"wouldDeny":0,"succeeded":0},` +
		`{"name":"blocked-secret","action":"deny","matched":800,"denied":800,"wouldDeny":0,"succeeded":0}],` +
		`"unmatched":{"matched":800,"denied":800,"wouldDeny":0,"succeeded":0}}`
	if got := text(a.Stats()); got != want {
		t.Errorf("got %s", got)
	}
}

func TestConformance(t *testing.T) {
	for name, p := range map[string]authz.Policy{
		"allowing":  {Rules: []authz.Rule{{Name: "everybody", Action: authz.Allow}}},
		"observing": {Mode: outcome.Observe, Rules: []authz.Rule{{Name: "nobody", Action: authz.Deny}}},
	} {
		t.Run(name, func(t *testing.T) {
			tulletest.TestHandler(t, func(next http.Handler) http.Handler {
				a, err := authz.New(p)
				if err != nil {
					t.Fatal(err)
				}
				return a.Middleware(next)
			})
		})
	}
}
