package tulletest

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
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
	// A test that failed in its bubble ends here with Goexit, not a panic.
	told := false
	defer func() {
		if v := recover(); v != nil && !told {
			report(t).Errorf("the exchange never ends: %v", v)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		tb := report(t)
		tb.Cleanup(func() { // registered first: runs when all else is stopped
			// A server that was closed waits a little for its peers.
			time.Sleep(time.Minute)
			synctest.Wait()
			if left := goroutines(); len(left) > 0 {
				told = true
				tb.Errorf("goroutines are left after everything was closed:\n%s", strings.Join(left, "\n"))
			}
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
var errStopped = fmt.Errorf("stopped")

// goroutines returns the stacks of the other goroutines in this bubble.
func goroutines() []string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := strings.Split(string(bytes.TrimSpace(buf)), "\n\n")
	// The caller's stack comes first; its header names the bubble, as in
	// "goroutine 7 [running, synctest bubble 3]:".
	_, mine, ok := strings.Cut(header(stacks[0]), "synctest bubble ")
	if !ok {
		return nil
	}
	mine = "synctest bubble " + strings.TrimRight(mine, "]:")
	var others []string
	for _, s := range stacks[1:] {
		// Two goroutines that drive the bubble are not anybody's.
		driver := strings.Contains(s, "internal/synctest.Run(") || strings.Contains(s, "created by testing/synctest.Test in")
		if strings.Contains(header(s), mine+"]") && !driver {
			others = append(others, s)
		}
	}
	return others
}

func header(stack string) string {
	first, _, _ := strings.Cut(stack, "\n")
	return first
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
