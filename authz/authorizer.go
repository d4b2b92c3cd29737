package authz

import (
	"net/http"

	"github.com/tulle-mesh/tulle/outcome"
)

// Authorizer carries out a Policy. It is safe for concurrent use.
type Authorizer struct {
	mode        outcome.Mode
	needs       needs
	deny, allow ruleset

	rules     []counted
	unmatched counters
}

// counted is a rule with what it has counted.
type counted struct {
	Name   string
	Action Action
	counts *counters
}

// New returns an Authorizer, or every fault of the policy as Validate reports
// them. It keeps nothing of p's slices.
func New(p Policy) (*Authorizer, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	a := &Authorizer{mode: p.Mode}
	for _, r := range p.Effective().Rules {
		compiled := compile(r, &a.needs)
		if r.Action == Deny {
			a.deny.add(compiled)
		} else {
			a.allow.add(compiled)
		}
		a.rules = append(a.rules, counted{r.Name, r.Action, compiled.counts})
	}
	return a, nil
}

// Decision is what becomes of one request. Nothing in it is for the caller.
type Decision struct {
	// Allowed says whether the request may go on. Under Observe it always may.
	Allowed bool
	// WouldDeny says that Observe let the request through and Enforce would not
	// have done. Done is then to be told how it ended.
	WouldDeny bool
	// Rule is the name of the rule that decided, "" if there was none.
	Rule string
	// Action is that rule's, 0 if there was none: the request was denied if
	// there is any Allow rule, else allowed.
	Action Action
	// InDoubt says that a denial came of doubt: the Deny rule matched only
	// because a condition was in doubt, or an Allow rule did not because of
	// that. The request is then malformed or at least unusual.
	InDoubt bool

	counts *counters
}

// Decide decides on a request and counts it. It reads the request's URL, Host,
// Method, Header, RemoteAddr, TLS and context. It takes no lock, and does not
// allocate unless the request's host has to be brought into canonical form.
func (a *Authorizer) Decide(r *http.Request) Decision {
	var f facts
	f.gather(r, a.needs)
	d := a.judge(&f)
	switch {
	case d.Allowed:
		d.counts.allowed.Add(1)
	case a.mode == outcome.Observe:
		d.counts.wouldDeny.Add(1)
		d.Allowed, d.WouldDeny = true, true
	default:
		d.counts.denied.Add(1)
	}
	return d
}

// judge decides as Enforce does.
func (a *Authorizer) judge(f *facts) Decision {
	if r, v := a.deny.first(f, doubt); r != nil {
		return Decision{Rule: r.name, Action: Deny, InDoubt: v == doubt, counts: r.counts}
	}
	if len(a.allow.rules) == 0 {
		return Decision{Allowed: true, counts: &a.unmatched}
	}
	r, v := a.allow.first(f, yes)
	if r == nil {
		return Decision{InDoubt: v == doubt, counts: &a.unmatched}
	}
	return Decision{Allowed: true, Rule: r.name, Action: Allow, counts: r.counts}
}

// Done says with which status a request with WouldDeny was answered; for others
// it does nothing. It is to be called once at most.
func (d Decision) Done(status int) {
	if d.WouldDeny && status >= 100 && status < http.StatusBadRequest {
		d.counts.succeeded.Add(1)
	}
}

// Err returns a *DeniedError, or nil for a request that may go on.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return &DeniedError{Rule: d.Rule, InDoubt: d.InDoubt}
}
