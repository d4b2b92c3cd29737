//go:build !race

package respwriter_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/internal/respwriter"
)

type null struct{ header http.Header }

func (n *null) Header() http.Header               { return n.header }
func (n *null) Write(p []byte) (int, error)       { return len(p), nil }
func (n *null) WriteString(s string) (int, error) { return len(s), nil }
func (n *null) WriteHeader(int)                   {}
func (n *null) Flush()                            {}

type silent struct{ w respwriter.Writer }

func (*silent) BeforeHeader(http.Header, int) {}

func TestAllocations(t *testing.T) {
	rw, o := &null{header: http.Header{}}, &silent{}
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		w := o.w.Wrap(rw, o)
		w.WriteHeader(200)
		_, _ = io.WriteString(w, "abc")
		o.w.Finish()
	}))
}

func BenchmarkWriter(b *testing.B) {
	rw, o := &null{header: http.Header{}}, &silent{}
	b.ReportAllocs()
	for b.Loop() {
		w := o.w.Wrap(rw, o)
		w.WriteHeader(200)
		_, _ = io.WriteString(w, "abc")
		o.w.Finish()
	}
}
