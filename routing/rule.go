package routing

import "github.com/tulle-mesh/tulle/match"

// Rule says what happens to the requests that one of its matches holds for.
type Rule[A any] struct {
	// Name is how the rule is called in faults, logs and labels. It may be empty.
	Name string
	// Match lists what requests the rule is for: any of them is enough. Empty
	// means every request.
	Match []match.Request
	// Action is what the rule leads to. If it has a method Validate() error,
	// Compile reports what that returns.
	Action A
}

// Hit is a rule that was found for a request, and how.
type Hit[A any] struct {
	// Name and Action are those of the rule.
	Name   string
	Action A
	// Rule is the rule's position in the list that was compiled, Match the
	// position in Rule.Match of what held, 0 if that is empty.
	Rule, Match int
	// Prefix is the part of the canonical path that was matched: the prefix, or
	// the whole path if the match was exact. It is "/" if the match has no path or
	// an expression. [Rewrite] and [Redirect] replace it.
	Prefix string
}
