package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
)

// tokensTask has productpage ask for tokens.
func tokensTask() task {
	v1 := []tulle.Route{toReviews("everybody", map[string]uint32{"v1": 1})}
	verified := tulle.Guard{Authn: &authn.Policy{
		Issuers: []authn.Issuer{{Issuer: issuerName, Audiences: []string{audience}}}, Realm: "bookinfo",
	}}
	allowed := verified
	allowed.Authz = &authz.Policy{Rules: []authz.Rule{
		{Name: "who has a token may look", Action: authz.Allow, To: []authz.Operation{{Methods: []string{http.MethodGet}}}},
		{Name: "readers may give a rating", Action: authz.Allow, To: []authz.Operation{{Methods: []string{http.MethodPost}}},
			When: []authz.Condition{{Claim: "role", Values: []string{"reader"}}}},
	}}
	const calls = 60
	who, may := step{calls: calls, see: admitted}, step{calls: calls, see: admitted}
	who.about = "Productpage asks for a token that its issuer has signed for it, and that has not expired."
	who.rules = rules{routes: v1, guard: &verified}
	who.request = func(f *fleet, made int) request {
		now := time.Now()
		switch made % 5 {
		case 0:
			return request{who: "good token", token: f.issuer.token("anna", "", now.Add(time.Hour))}
		case 1:
			return request{who: "expired", token: f.issuer.token("anna", "", now.Add(-time.Hour))}
		case 2:
			return request{who: "of another key", token: foreign("anna", now.Add(time.Hour))}
		case 3:
			return request{who: `signed by "none"`, token: unsigned("anna", now.Add(time.Hour))}
		}
		return request{who: "no token"}
	}
	who.expect = map[string]float64{
		"good token: page for anna": .2, "expired: 401 invalid_token": .2, "of another key: 401 invalid_token": .2,
		`signed by "none": 401 invalid_token`: .2, "no token: 401, bearer wanted": .2,
	}
	who.quote = func(p page) string {
		if p.Refused == nil || p.Asked.who != "expired" {
			return ""
		}
		return fmt.Sprintf("%v. WWW-Authenticate: %s", p.Refused, p.Refused.header.Get("WWW-Authenticate"))
	}
	may.about = "Who may do what is decided by a claim: all may look, readers may give a rating."
	may.rules = rules{routes: v1, guard: &allowed}
	may.request = func(f *fleet, made int) request {
		q, role := request{who: "reader"}, "reader"
		if made%4 < 2 {
			q.who, role = "guest", ""
		}
		q.token = f.issuer.token(q.who, role, time.Now().Add(time.Hour))
		if q.gives = made%2 == 0; q.gives {
			q.who += " gives"
		} else {
			q.who += " looks"
		}
		return q
	}
	may.expect = map[string]float64{
		"guest looks: page for guest": .25, "guest gives: 403 forbidden": .25,
		"reader looks: page for reader": .25, "reader gives: page for reader": .25,
	}
	return task{
		name:  "tokens",
		title: "tokens required",
		about: "The page is for those who have a token of the issuer, whose keys the mesh of productpage\n" +
			"fetches by itself. It answers everybody else in the place of productpage, which knows\n" +
			"nothing of tokens and is told who is calling. Without, all come in, and are nobody.",
		steps:   []step{who, may},
		without: rules{routes: v1},
	}
}

// admitted tells what came of a request that tells who is asking.
func admitted(p page) string {
	what := "page for " + p.User
	if p.User == "" {
		what = "page for nobody"
	}
	if r := p.Refused; r != nil {
		challenge := r.header.Get("WWW-Authenticate")
		what = fmt.Sprint(r.status)
		switch {
		case r.problem.Reason == "":
			what += " without a reason"
		case r.status == http.StatusForbidden:
			what += " " + r.problem.Reason
		case strings.HasPrefix(challenge, `Bearer realm="bookinfo", error="invalid_token"`):
			what += " invalid_token"
		case challenge == `Bearer realm="bookinfo"`:
			what += ", bearer wanted"
		}
	}
	return p.Asked.who + ": " + what
}
