package authn

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// staleAfter is for how long a set is used that cannot be fetched anew.
	staleAfter = 24 * time.Hour
	// askEvery is how often requests can have a set fetched, at most.
	askEvery = 10 * time.Second
	// absentFor is for how long a key that was asked for in vain is not asked
	// for again.
	absentFor = time.Minute
	// waitAtMost is how long a request waits for a fetch.
	waitAtMost = 5 * time.Second
	// After failures a set is fetched again after firstBackoff, and then ever
	// more seldom. Requests wait for that too, though no longer than askEvery.
	firstBackoff = time.Second
	lastBackoff  = 5 * time.Minute
)

// source is where a key set is from, and how it is fetched.
type source struct {
	url       string
	plain     bool
	transport http.RoundTripper
}

// held is a set and when it was last known to be what the issuer publishes.
type held struct {
	set     *keySet
	fetched time.Time
}

// round is one fetch, from when it is asked for to its end.
type round struct {
	done chan struct{}
	// id is the key it was asked for on behalf of, if it was.
	id    string
	asked bool
}

// absent is a key that an issuer did not have.
type absent struct {
	id    string
	until time.Time
}

// remote is a key set that is fetched, by a goroutine of its own.
//
// It is fetched when it begins, when what it has may be outdated, and when
// somebody asks: a request whose key is not in it. All who ask while a fetch
// is under way wait for that one; who asks too soon after the last that was
// asked for, or after one that failed, gets none.
// When fetching fails, what there is goes on being used, up to staleAfter.
type remote struct {
	source source
	bare   string
	log    *slog.Logger
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
	users  int // guarded by KeySets.mu

	current atomic.Pointer[held]

	mu sync.Mutex
	// round is the fetch under way or asked for, nil if there is none.
	round *round
	// asked is when a request last had the set fetched, notBefore until when
	// none can, since its server wants to be left alone or has just failed.
	asked, notBefore time.Time
	next             time.Time
	absent           []absent
	err              error
	changed          time.Time
	fetches          uint64
	failures         uint64
	changes          uint64
}

func startRemote(s source, log *slog.Logger) *remote {
	ctx, cancel := context.WithCancel(context.Background())
	u, _ := url.Parse(s.url) // has been validated
	r := &remote{
		source: s, bare: bare(u), log: log,
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
		round: &round{done: make(chan struct{})},
	}
	go r.run(ctx)
	return r
}

// stop ends fetching and waits for that. What is there stays.
func (r *remote) stop() {
	r.cancel()
	<-r.done
}

func (r *remote) run(ctx context.Context) {
	defer close(r.done)
	f, done := newFetcher(r.source)
	defer done()
	for failures := 0; ; {
		under := r.begin()
		a := f.fetch(ctx)
		if ctx.Err() != nil {
			r.abandon(under)
			return
		}
		wait := a.next - time.Duration(rand.Float64()*float64(a.next)/10)
		if a.err != nil {
			wait = max(backoff(failures), a.next)
			failures++
		} else {
			failures = 0
		}
		r.end(under, a, wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.abandon(nil)
			return
		case <-timer.C:
		case <-r.wake:
			timer.Stop()
		}
	}
}

// backoff returns how long to wait after one failure that has followed on
// others: from half of the time that doubles with each up to the whole.
func backoff(failures int) time.Duration {
	d := min(firstBackoff<<min(failures, 10), lastBackoff)
	return d - time.Duration(rand.Float64()*float64(d)/2)
}

func (r *remote) begin() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.wake: // heard
	default:
	}
	if r.round == nil {
		r.round = &round{done: make(chan struct{})}
	}
	r.fetches++
	return r.round
}

// end publishes what a fetch has brought, and only then lets those go who
// wait for it.
func (r *remote) end(under *round, a answer, wait time.Duration) {
	now := time.Now()
	r.mu.Lock()
	before := r.err
	r.next, r.err, r.round = now.Add(wait), a.err, nil
	changed := false
	if a.err != nil {
		r.failures++
		r.notBefore = now.Add(min(wait, max(a.next, askEvery)))
	} else {
		old := r.current.Load()
		if changed = old == nil || old.set != a.set; changed {
			r.changes++
			r.changed = now
			r.absent = nil
		}
		r.current.Store(&held{set: a.set, fetched: now})
		r.absent = slices.DeleteFunc(r.absent, func(o absent) bool { return !now.Before(o.until) })
		if under.asked && a.set.byID[under.id] == nil {
			r.absent = append(r.absent, absent{under.id, now.Add(absentFor)})
		}
	}
	r.mu.Unlock()
	close(under.done)
	switch {
	case a.err != nil && (before == nil || before.Error() != a.err.Error()):
		r.log.Warn("the key set cannot be fetched", "url", r.bare, "error", a.err)
	case a.err == nil && changed:
		r.log.Info("key set", "url", r.bare, "keys", len(a.set.keys), "leftOut", a.set.leftOut)
	case a.err == nil && before != nil:
		r.log.Info("the key set can be fetched again", "url", r.bare)
	}
}

var errStopped = errors.New("fetching has been stopped")

// abandon lets those go who wait for what will not come any more.
func (r *remote) abandon(under *round) {
	r.mu.Lock()
	if under == nil {
		under = r.round
	}
	// Whoever asks from now on is refused: see ask.
	r.round, r.err = nil, errStopped
	r.mu.Unlock()
	if under != nil {
		close(under.done)
	}
}

// ask has the set fetched for a request with the key id, if that has not been
// done lately. It returns what is closed at the end of the fetch, nil if there
// is none.
func (r *remote) ask(id string, now time.Time) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round != nil {
		return r.round.done
	}
	if r.err == errStopped || now.Before(r.notBefore) || !r.asked.IsZero() && now.Sub(r.asked) < askEvery {
		return nil
	}
	if slices.ContainsFunc(r.absent, func(o absent) bool { return o.id == id && now.Before(o.until) }) {
		return nil
	}
	r.asked = now
	r.round = &round{done: make(chan struct{}), id: id, asked: true}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return r.round.done
}

// set returns the set if it can be used, else nil.
func (r *remote) set(now time.Time) *keySet {
	h := r.current.Load()
	if h == nil || now.Sub(h.fetched) >= staleAfter {
		return nil
	}
	return h.set
}

// failing returns when the next fetch is due, and why the last failed if it
// did.
func (r *remote) failing() (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next, r.err
}
