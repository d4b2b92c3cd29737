package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// load is what all policies have to bear, the same for each of them.
type load struct {
	servers, callers int
	rate             float64 // calls a second
	length           time.Duration
	seed             uint64
}

// call is one call: who makes it, when, and how long a worker is busy with it.
type call struct {
	caller   int
	at, work time.Duration
}

const (
	// meanWork is long for a loopback and short for what shares a machine
	// with other programs: a delay of a millisecond is none of a policy's.
	meanWork = 50 * time.Millisecond
	// spreadWork is the standard deviation of the logarithm of the work: one
	// call in a hundred takes four times as long as half of them, at least.
	spreadWork = 0.6

	mostServers = 64
	mostCallers = 1000
	mostRate    = 5000
	leastLength = 100 * time.Millisecond
	mostLength  = 10 * time.Minute
)

func (l load) validate() error {
	var faults []error
	fault := func(holds bool, format string, args ...any) {
		if !holds {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(l.servers >= 4 && l.servers <= mostServers, "-servers: %d is not from 4 to %d", l.servers, mostServers)
	fault(l.callers >= 1 && l.callers <= mostCallers, "-callers: %d is not from 1 to %d", l.callers, mostCallers)
	fault(l.rate >= 1 && l.rate <= mostRate, "-rate: %v is not from 1 to %d", l.rate, mostRate)
	fault(l.length >= leastLength && l.length <= mostLength, "-for: %v is not from %v to %v", l.length, leastLength, mostLength)
	return errors.Join(faults...)
}

// calls returns all calls in their order: callers who know nothing of each
// other and ask at any time (a Poisson process), for work that mostly takes
// its time and now and then much longer (log-normal).
func (l load) calls() []call {
	chance := rand.New(rand.NewPCG(l.seed, 0))
	mean := math.Log(float64(meanWork)) - spreadWork*spreadWork/2
	var all []call
	for at := 0.0; ; {
		at += chance.ExpFloat64() / l.rate * float64(time.Second)
		if at >= float64(l.length) {
			return all
		}
		all = append(all, call{
			caller: chance.IntN(l.callers), at: time.Duration(at),
			work: time.Duration(math.Exp(mean + spreadWork*chance.NormFloat64())).Round(10 * time.Microsecond),
		})
	}
}

// trouble is what happens to a server while calls go on.
type trouble struct {
	server int
	// name is that of such a server, what is what it does.
	name, what string
	from, to   time.Duration
	// order is what the server is told; one that is paused is told nothing.
	order  order
	paused bool
}

// slowness is by how much longer a slow server takes.
const slowness = 3

// troubles returns what happens, at parts of the time that do not depend on
// how long it is.
func (l load) troubles() []trouble {
	part := func(tenths int) time.Duration { return l.length * time.Duration(tenths) / 10 }
	all := []trouble{
		{server: 1, name: "slow", what: fmt.Sprintf("takes %d times as long", slowness), from: part(1), to: part(8), order: order{Slow: slowness}},
		{server: 2, name: "failing", what: "fails at once", from: part(2), to: part(4), order: order{Fail: true}},
	}
	if canPause {
		all = append(all, trouble{server: 3, name: "stopped", what: "is stopped", from: part(5), to: part(7), paused: true})
	}
	return all
}

// describe tells troubles in a sentence.
func describe(troubles []trouble) string {
	var parts []string
	for _, t := range troubles {
		parts = append(parts, fmt.Sprintf("one %s for %s", t.what, short(t.to-t.from)))
	}
	return "Meanwhile " + strings.Join(parts, ", ") + "."
}
