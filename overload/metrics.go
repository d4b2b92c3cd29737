package overload

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// mostMetrics is how many a report holds.
const mostMetrics = 32

// MetricsKey is the key under which a context has the *Metrics that AddMetric
// adds to.
type MetricsKey struct{}

// Metrics are the figures that a handler adds to one load report. The zero
// Metrics are ready for use, by any number of goroutines. They must not be
// copied.
type Metrics struct {
	mu     sync.Mutex
	report endpoint.LoadReport
	// value is where the header is kept, so that it needs no slice of its own.
	value [1]string
	// sent is when, since the epoch of the meter, or noMore.
	sent time.Duration
}

// noMore says that nothing that is added would still be sent.
const noMore time.Duration = -1

// AddMetric adds a figure to the load report of the response to the request
// that ctx is of. A figure that was there is replaced. What is to be in the
// header has to come before that is sent, which the first byte of the body
// does. What comes later is in the trailer, if there will be one, see
// Guard.WriteTrailer.
//
// The name is one of the map named_metrics of ORCA, or begins with that of
// another, "utilization." or "request_cost."; "application_utilization" and
// "mem_utilization" have a place of their own. See endpoint.Metric for what
// names and values may be. AddMetric reports whether the figure is taken: it
// is not if there is no guard, the response has ended, there are 32 already, or
// the name or the value is none.
func AddMetric(ctx context.Context, name string, v float64) bool {
	m, ok := ctx.Value(MetricsKey{}).(*Metrics)
	return ok && m != nil && m.Add(name, v)
}

// Add does what AddMetric does.
func (m *Metrics) Add(name string, v float64) bool {
	figure := endpoint.LoadReport{}
	switch table, _, _ := strings.Cut(name, "."); {
	case name == "application_utilization":
		figure.Application = v
	case name == "mem_utilization":
		figure.Memory = v
	case table == "named_metrics" || table == "utilization" || table == "request_cost":
		figure.Named = []endpoint.Metric{{Name: name, Value: v}}
	default:
		name = "named_metrics." + name
		figure.Named = []endpoint.Metric{{Name: name, Value: v}}
	}
	// The writer of reports knows what it leaves out; nothing is a figure too.
	if v != 0 || figure.Named != nil {
		if len(figure.AppendText(nil)) == 0 {
			return false
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.report
	switch {
	case m.sent == noMore:
		return false
	case name == "application_utilization":
		r.Application = v
		return true
	case name == "mem_utilization":
		r.Memory = v
		return true
	}
	for i := range r.Named {
		if r.Named[i].Name == name {
			r.Named[i].Value = v
			return true
		}
	}
	if len(r.Named) == mostMetrics {
		return false
	}
	r.Named = append(r.Named, figure.Named[0])
	return true
}
