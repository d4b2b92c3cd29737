package authn

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// KeySets are the key sets that the verifiers of a program fetch, each once
// however many verifiers use it. A set is fetched from when the first that
// uses it is made until the last is closed, so that a verifier which replaces
// another begins with what that one knew. It is safe for concurrent use.
type KeySets struct {
	log *slog.Logger

	mu     sync.Mutex
	sets   map[source]*remote
	closed bool
}

// NewKeySets returns KeySets that tell log which sets could not be fetched,
// and which have changed. Nil tells nobody. Close ends them.
func NewKeySets(log *slog.Logger) *KeySets {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &KeySets{log: log, sets: map[source]*remote{}}
}

var errClosed = errors.New("authn: the key sets have been closed")

func (k *KeySets) acquire(s source) (*remote, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed
	}
	r := k.sets[s]
	if r == nil {
		r = startRemote(s, k.log)
		k.sets[s] = r
	}
	r.users++
	return r, nil
}

func (k *KeySets) release(r *remote) {
	k.mu.Lock()
	r.users--
	last := r.users == 0 && k.sets[r.source] == r
	if last {
		delete(k.sets, r.source)
	}
	k.mu.Unlock()
	if last {
		r.stop()
	}
}

// Close ends all fetching and returns when it has ended. Verifiers go on with
// the keys they have, until those are a day old. It returns nil.
func (k *KeySets) Close() error {
	k.mu.Lock()
	k.closed = true
	sets := k.sets
	k.sets = map[source]*remote{}
	k.mu.Unlock()
	for _, r := range sets {
		r.cancel()
	}
	for _, r := range sets {
		<-r.done
	}
	return nil
}

// KeySetStats is the state of a key set.
type KeySetStats struct {
	// URL is where it is fetched, without its query; empty for a static set.
	URL string `json:"url,omitzero"`
	// Keys are how many can be used; LeftOut says which are not, and why.
	Keys    int      `json:"keys"`
	LeftOut []string `json:"leftOut,omitzero"`
	// Fetched is when it was last known to be what the issuer publishes, zero
	// for never, and Age how long ago that was. Changed is when it last became
	// another, Changes how often it has.
	Fetched time.Time     `json:"fetched,omitzero"`
	Age     time.Duration `json:"age,omitzero"`
	Changed time.Time     `json:"changed,omitzero"`
	Changes uint64        `json:"changes,omitzero"`
	// Usable says whether tokens can be verified with it. A set that could not
	// be fetched for a day cannot be used.
	Usable bool `json:"usable"`
	// Fetches counts fetches, Failures those of them that failed, without the
	// repetitions that each has within a moment. Err is why the last failed,
	// empty if it did not. Next is when the next is due.
	Fetches  uint64    `json:"fetches,omitzero"`
	Failures uint64    `json:"failures,omitzero"`
	Err      string    `json:"err,omitzero"`
	Next     time.Time `json:"next,omitzero"`
}

// Stats returns the state of each set that is fetched, in the order of their
// URLs.
func (k *KeySets) Stats() []KeySetStats {
	k.mu.Lock()
	remotes := slices.Collect(maps.Values(k.sets))
	k.mu.Unlock()
	all := make([]KeySetStats, len(remotes))
	for i, r := range remotes {
		all[i] = r.stats(time.Now())
	}
	slices.SortFunc(all, func(a, b KeySetStats) int { return cmp.Compare(a.URL, b.URL) })
	return all
}

func (r *remote) stats(now time.Time) KeySetStats {
	r.mu.Lock()
	s := KeySetStats{
		URL: r.bare, Changed: r.changed, Changes: r.changes,
		Fetches: r.fetches, Failures: r.failures, Next: r.next,
	}
	if r.err != nil {
		s.Err = r.err.Error()
	}
	r.mu.Unlock()
	if h := r.current.Load(); h != nil {
		s.Keys, s.LeftOut = len(h.set.keys), slices.Clone(h.set.leftOut)
		s.Fetched, s.Age = h.fetched, now.Sub(h.fetched)
		s.Usable = s.Age < staleAfter
	}
	return s
}
