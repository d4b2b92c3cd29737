package authn

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// issuer is an Issuer with its keys.
type issuer struct {
	Issuer
	// rsa is the algorithm of RSA keys that do not name theirs, "" for none.
	rsa      string
	checkers map[string]checker
	// One of these is set.
	static *keySet
	remote *remote
}

func newIssuer(i Issuer, sets *KeySets) (*issuer, error) {
	out := &issuer{Issuer: i, checkers: map[string]checker{}}
	for _, a := range i.Algorithms {
		c, err := newChecker(a)
		if err != nil {
			return nil, fmt.Errorf("authn: %s: %w", a, err)
		}
		out.checkers[a] = c
		if out.rsa == "" && ofRSA(a) {
			out.rsa = a
		}
	}
	var err error
	if i.JWKS != "" {
		out.static, err = parseStatic(i.JWKS)
	} else {
		out.remote, err = sets.acquire(source{url: i.JWKSURL, plain: i.PlainHTTP, transport: i.Transport})
	}
	return out, err
}

// set returns the keys that there are, nil for none.
func (i *issuer) set(now time.Time) *keySet {
	if i.static != nil {
		return i.static
	}
	return i.remote.set(now)
}

// has tells whether the issuer still has a key.
func (i *issuer) has(k *key, now time.Time) bool {
	if i.static != nil {
		return true
	}
	set := i.remote.set(now)
	return set != nil && slices.Contains(set.keys, k)
}

// key returns the key that p must have been signed with. If there is none it
// is asked for, and waited for if wait.
func (i *issuer) key(ctx context.Context, p *parsed, now time.Time, wait bool) (*key, *Error) {
	k, err := i.look(p, now)
	if err == nil || i.static != nil || err.Kind != UnknownKey && err.Kind != KeysUnavailable {
		return k, err
	}
	fetch := i.remote.ask(p.keyID, now)
	if fetch != nil && wait {
		timer := time.NewTimer(waitAtMost)
		defer timer.Stop()
		select {
		case <-fetch:
			k, err = i.look(p, time.Now())
		case <-timer.C:
			err = &Error{Kind: KeysUnavailable, Detail: "waited " + waitAtMost.String()}
		case <-ctx.Done():
			err = &Error{Kind: KeysUnavailable, Err: context.Cause(ctx)}
		}
		if err == nil {
			return k, nil
		}
	}
	// Whether a key is unknown, or new, nobody can tell while fetching fails.
	next, failing := i.remote.failing()
	if failing != nil {
		err = &Error{Kind: KeysUnavailable, Err: failing}
	}
	if err.Kind == KeysUnavailable {
		err.RetryAfter = min(max(time.Second, time.Until(next)), askEvery)
	}
	return nil, err
}

// look returns the key of p among those that there are.
func (i *issuer) look(p *parsed, now time.Time) (*key, *Error) {
	set := i.set(now)
	if set == nil {
		return nil, &Error{Kind: KeysUnavailable, Detail: "none were fetched lately"}
	}
	k, err := set.find(p.keyID, p.algorithm, i.rsa)
	switch err {
	case nil:
		return k, nil
	case errNoKey:
		return nil, &Error{Kind: UnknownKey, Detail: fmt.Sprintf("kid %.40q for %s", p.keyID, p.algorithm)}
	case errAmbiguous:
		return nil, &Error{Kind: Malformed, Detail: "several keys for " + p.algorithm + ", and no kid says which"}
	default:
		return nil, &Error{Kind: WrongAlgorithm, Detail: fmt.Sprintf("kid %.40q is not for %s", p.keyID, p.algorithm)}
	}
}
