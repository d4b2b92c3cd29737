package tulletest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// recordingTB notes failures instead of failing; all else is the bubble's.
type recordingTB struct {
	testing.TB
	failures *failures
}

type failures struct {
	mu       sync.Mutex
	messages []string
}

func (f *failures) add(message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages = append(f.messages, message)
}

func (r recordingTB) Error(args ...any)                 { r.failures.add(fmt.Sprint(args...)) }
func (r recordingTB) Errorf(format string, args ...any) { r.failures.add(fmt.Sprintf(format, args...)) }
func (r recordingTB) Fail()                             { r.failures.add("Fail") }
func (r recordingTB) FailNow()                          { r.failures.add("FailNow"); panic(errStopped) }
func (r recordingTB) Fatal(args ...any)                 { r.Error(args...); panic(errStopped) }
func (r recordingTB) Output() io.Writer                 { return io.Discard }
func (r recordingTB) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(errStopped)
}

func (r recordingTB) Failed() bool {
	r.failures.mu.Lock()
	defer r.failures.mu.Unlock()
	return len(r.failures.messages) > 0
}

// verdict is what a kit found: for each failed row, its messages.
type verdict map[string][]string

// recording runs rows in bubbles and notes those that fail in v.
func (v verdict) recording(t *testing.T, prefix string) runner {
	return func(name string, body func(t testing.TB)) {
		f := &failures{}
		bubble(t, func(t *testing.T) testing.TB { return recordingTB{t, f} }, body)
		if len(f.messages) > 0 {
			v[prefix+name] = f.messages
		}
	}
}

// failed returns the names of the rows that failed: those that failed over
// every protocol they run over as their name, others after the protocol.
func (v verdict) failed(protocols map[string][]string) []string {
	var names []string
	for row, over := range protocols {
		var failed []string
		for _, p := range over {
			if _, ok := v[p+"/"+row]; ok {
				failed = append(failed, p+"/"+row)
			}
		}
		if len(failed) == len(over) {
			failed = []string{row}
		}
		names = append(names, failed...)
	}
	slices.Sort(names)
	return names
}

// check compares the failed rows with those of want, of which a row after "may "
// depends on which of two things net/http does first; "may *" stands for every
// row. It takes the failed rows out of unfailed.
func (v verdict) check(t *testing.T, want []string, protocols, unfailed map[string][]string) {
	t.Helper()
	var must, may []string
	for _, row := range want {
		if optional, ok := strings.CutPrefix(row, "may "); ok {
			may = append(may, optional)
		} else {
			must = append(must, row)
		}
	}
	failed := v.failed(protocols)
	if slices.Contains(may, "*") {
		may = slices.DeleteFunc(slices.Clone(failed), func(row string) bool { return slices.Contains(must, row) })
	}
	for _, row := range failed {
		if _, name, ok := strings.Cut(row, "/"); ok {
			row = name
		}
		delete(unfailed, row)
	}
	certain := slices.DeleteFunc(slices.Clone(failed), func(row string) bool { return slices.Contains(may, row) })
	if !assert.Equal(t, must, certain) {
		for _, row := range slices.Sorted(maps.Keys(v)) {
			t.Logf("%s: %s", row, v[row])
		}
	}
}

// protocolsOf tells which protocols each row runs over.
func protocolsOf[W any](rows []row[W]) map[string][]string {
	m := make(map[string][]string)
	for _, r := range rows {
		if r.only != http2 {
			m[r.name] = append(m[r.name], "http1")
		}
		if r.only != http1 {
			m[r.name] = append(m[r.name], "http2")
		}
	}
	return m
}

func judgeRoundTripper(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) verdict {
	v := make(verdict)
	runClient(v.recording(t, "http1/"), clientWorld{wrap: wrap, calls: 50})
	runClient(v.recording(t, "http2/"), clientWorld{wrap: wrap, calls: 50, http2: true})
	return v
}

func judgeHandler(t *testing.T, wrap func(http.Handler) http.Handler, known ...Difference) verdict {
	v := make(verdict)
	world := handlerWorld{wrap: wrap, known: known}
	runHandler(v.recording(t, "http1/"), http1, world)
	runHandler(v.recording(t, "http2/"), http2, world)
	runHandler(v.recording(t, "recorder/"), anyProtocol, world)
	return v
}
