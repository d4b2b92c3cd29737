package authz

import "strings"

// ruleset holds the rules of one action in such a way that most of those on
// other paths and other callers need not be asked: a rule that names the paths it
// is about stands under each of them, and a path can only be matched under itself
// or one of its beginnings; of the rest, a rule that names its callers stands
// under each of those.
type ruleset struct {
	rules []rule
	// anywhere are the rules to ask for every request.
	anywhere []int
	// callers are the rules to ask for the principal of a name.
	callers map[string][]int
	// below are the rules to ask for a path and all below it. No key ends in a
	// slash.
	below map[string][]int
	// longest is the length of the longest key.
	longest int
}

func (s *ruleset) add(r rule) {
	i := len(s.rules)
	s.rules = append(s.rules, r)
	if paths := r.pathKeys(); paths != nil {
		stand(&s.below, paths, i)
		for _, p := range paths {
			s.longest = max(s.longest, len(p))
		}
	} else if callers := r.callerKeys(); callers != nil {
		stand(&s.callers, callers, i)
	} else {
		s.anywhere = append(s.anywhere, i)
	}
}

// stand puts the rule i under each of keys, once.
func stand(index *map[string][]int, keys []string, i int) {
	if *index == nil {
		*index = map[string][]int{}
	}
	for _, key := range keys {
		if list := (*index)[key]; len(list) == 0 || list[len(list)-1] != i {
			(*index)[key] = append(list, i)
		}
	}
}

// callerKeys returns the only names of principals that the rule can match, nil if
// it can match others.
func (r *rule) callerKeys() []string {
	var keys []string
	for i := range r.from {
		if r.from[i].principals.list == nil {
			return nil
		}
		keys = append(keys, r.from[i].principals.list...)
	}
	return keys
}

// pathKeys returns the paths that the rule is about, nil if that is any.
func (r *rule) pathKeys() []string {
	var keys []string
	for _, o := range r.to {
		if o.paths == nil {
			return nil
		}
		for _, p := range o.paths {
			key := strings.TrimSuffix(p.Exact+p.Prefix, "/") // one of them is set
			if key == "" {
				return nil
			}
			keys = append(keys, key)
		}
	}
	return keys
}

// first returns the first rule whose verdict is at least least, and that verdict.
// If there is none it returns nil and the greatest verdict of all.
func (s *ruleset) first(f *facts, least verdict) (*rule, verdict) {
	if s.below != nil && !f.pathSure || s.callers != nil && f.known == doubt {
		return s.firstOfAll(f, least)
	}
	at, greatest := s.scan(s.anywhere, f, least, len(s.rules), no)
	if s.callers != nil && f.known == yes {
		at, greatest = s.scan(s.callers[f.caller.Name], f, least, at, greatest)
	}
	// The path is bounded by configuration here, not by the caller.
	for i := 1; i <= len(f.path) && i <= s.longest; i++ {
		if i == len(f.path) || f.path[i] == '/' {
			at, greatest = s.scan(s.below[f.path[:i]], f, least, at, greatest)
		}
	}
	if at == len(s.rules) {
		return nil, greatest
	}
	return &s.rules[at], greatest
}

// firstOfAll asks every rule: with what is in doubt no rule can be found by it.
func (s *ruleset) firstOfAll(f *facts, least verdict) (*rule, verdict) {
	greatest := no
	for i := range s.rules {
		v := s.rules[i].judge(f)
		if v >= least {
			return &s.rules[i], v
		}
		greatest = max(greatest, v)
	}
	return nil, greatest
}

// scan looks through list, which is in order, for a rule that comes before at.
// It returns the first one and its verdict, or at and the greater verdict.
func (s *ruleset) scan(list []int, f *facts, least verdict, at int, greatest verdict) (int, verdict) {
	for _, i := range list {
		if i >= at {
			break
		}
		v := s.rules[i].judge(f)
		if v >= least {
			return i, v
		}
		if at == len(s.rules) {
			greatest = max(greatest, v)
		}
	}
	return at, greatest
}
