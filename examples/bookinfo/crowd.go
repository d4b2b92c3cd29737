package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// clients is how many look at the page at once in a crowd.
	clients = 24
	// breath is the least time from one look of a client to its next.
	breath = 10 * time.Millisecond
)

// crowd has many make the calls of the step, for as long as what is to be done
// during them takes and until there were enough.
func (w *walker) crowd(ctx context.Context, label string, s step) (seen map[string]int, quote string, err error) {
	if w.live {
		fmt.Fprintf(w.out, "\r     %-9s %d clients call\x1b[K", label, cmp.Or(s.clients, clients))
	}
	var (
		mu     sync.Mutex
		made   int
		over   bool
		faults []error
		all    sync.WaitGroup
	)
	seen = map[string]int{}
	next := func() (number int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(faults) > 0 || over && made >= s.calls {
			return 0, false
		}
		made++
		return made - 1, true
	}
	for range cmp.Or(s.clients, clients) {
		all.Go(func() {
			tick := time.NewTicker(breath)
			defer tick.Stop()
			for ; ; <-tick.C {
				number, ok := next()
				if !ok {
					return
				}
				p, err := s.look(ctx, w.fleet, number)
				mu.Lock()
				if err != nil {
					faults = append(faults, err)
				} else {
					seen[s.see(p)]++
				}
				if s.quote != nil && quote == "" && err == nil {
					quote = s.quote(p)
				}
				mu.Unlock()
			}
		})
	}
	failed := s.during(ctx, w.fleet)
	mu.Lock()
	over = true
	mu.Unlock()
	all.Wait()
	return seen, quote, errors.Join(append(faults, failed)...)
}
