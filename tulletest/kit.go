package tulletest

import (
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A row is one rule of a contract. Its function gets a world of its own inside
// a bubble of its own, and reports every breach through t.
type row[World any] struct {
	name string
	only protocol // the protocols whose contract has the rule
	test func(t testing.TB, w World)
}

type protocol int

const (
	anyProtocol protocol = iota
	http1
	http2
)

// A runner runs one row in a bubble: as a subtest, or, in this package's own
// tests, with a testing.TB that records failures instead of failing.
type runner func(name string, body func(t testing.TB))

// subtests runs rows as subtests of t.
func subtests(t *testing.T) runner {
	return func(name string, body func(t testing.TB)) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) testing.TB { return t }, body)
		})
	}
}

// bubble runs body in a synctest bubble and reports through report(t) what
// would otherwise end the whole test binary: a panic, everybody waiting for
// ever, goroutines left over.
func bubble(t *testing.T, report func(*testing.T) testing.TB, body func(t testing.TB)) {
	var name string
	over := false
	// A row that failed ends with Goexit, which is not recovered here.
	defer func() {
		switch v := recover(); {
		case v == nil:
		case over:
			report(t).Errorf("goroutines are left after everything was closed:\n%s", strings.Join(goroutines(name), "\n\n"))
		default:
			report(t).Errorf("the exchange never ends: %v", v)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		name = bubbleName()
		tb := report(t)
		tb.Cleanup(func() { // registered first: runs when all else is stopped
			// A server that was closed waits a little for its peers.
			time.Sleep(time.Minute)
			over = true
		})
		defer func() {
			if v := recover(); v != nil && v != errStopped {
				tb.Errorf("panic: %v\n%s", v, debug.Stack())
			}
		}()
		body(tb)
	})
}

// errStopped is what a recording testing.TB panics with in place of FailNow.
var errStopped = errors.New("stopped")

// bubbleName returns how stacks call the bubble of the caller, as in
// "goroutine 7 [running, synctest bubble 3]:".
func bubbleName() string {
	buf := make([]byte, 1<<10)
	header, _, _ := strings.Cut(string(buf[:runtime.Stack(buf, false)]), "\n")
	_, id, _ := strings.Cut(header, "synctest bubble ")
	return "synctest bubble " + strings.TrimRight(id, "]:")
}

// goroutines returns the stacks of a bubble's goroutines, except for the
// caller's own and the two that drive the bubble.
func goroutines(bubble string) []string {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for ; n == len(buf); n = runtime.Stack(buf, true) {
		buf = make([]byte, 2*len(buf))
	}
	var others []string
	// The caller's stack comes first.
	for _, stack := range strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")[1:] {
		header, _, _ := strings.Cut(stack, "\n")
		driver := strings.Contains(stack, "internal/synctest.Run(") ||
			strings.Contains(stack, "created by testing/synctest.Test in")
		if strings.Contains(header, bubble+"]") && !driver {
			others = append(others, stack)
		}
	}
	return others
}

// settleLocks is synctest.Wait for goroutines of which one may wait for a lock
// for good: to synctest such a one still moves, and Wait would never return.
func settleLocks() {
	waits := func(stack string) bool {
		header, _, _ := strings.Cut(stack, "\n")
		return strings.Contains(header, "[sync.Mutex.") || strings.Contains(header, "[sync.RWMutex.")
	}
	moves := func(stack string) bool {
		header, _, _ := strings.Cut(stack, "\n")
		return !strings.Contains(header, "(durable)") && !waits(stack)
	}
	idle := 0
	// Looked at more than once: who holds the lock may be outside of the bubble,
	// and about to unlock it.
	for range 100_000 {
		stacks := goroutines(bubbleName())
		switch {
		case slices.ContainsFunc(stacks, moves):
			idle = 0
		case !slices.ContainsFunc(stacks, waits):
			synctest.Wait()
			return
		default:
			if idle++; idle == 100 {
				return
			}
		}
		runtime.Gosched()
	}
	synctest.Wait()
}

// readAll reads r to its end and fails t on an error.
func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("reading the body: %v", err)
	}
	return string(b)
}
