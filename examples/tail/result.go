package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what came of a load under one policy.
type result struct {
	policy
	calls int
	// failed and expired count the calls that were not answered.
	failed, expired int
	// took is in order: of answered calls, and of those that expired, which
	// took as long as their callers have waited. One that failed at once would
	// make a policy look fast.
	took []time.Duration
	// shares are which part of the calls that were due while a trouble lasted
	// went to the server that had it.
	shares []float64
	// late is how late the latest call began: what the machine, not the policy,
	// is to blame for.
	late time.Duration
	// picks counts for what reasons endpoints were picked, nil where the
	// policy does not tell.
	picks map[string]uint64
	// sentBack is how many calls came back from servers that were busier than
	// expected, and were made anew.
	sentBack uint64
}

func newResult(p policy, calls []call, outcomes []outcome, addrs []string, troubles []trouble) result {
	r := result{policy: p, calls: len(calls), shares: make([]float64, len(troubles))}
	due := make([]int, len(troubles))
	for i, o := range outcomes {
		r.late = max(r.late, o.late)
		switch o.kind {
		case failed:
			r.failed++
		case expired:
			r.expired++
			fallthrough
		default:
			r.took = append(r.took, o.took)
		}
		for j, t := range troubles {
			if calls[i].at < t.from || calls[i].at >= t.to {
				continue
			}
			due[j]++
			if o.server == addrs[t.server] {
				r.shares[j]++
			}
		}
	}
	for j := range troubles {
		r.shares[j] /= float64(max(1, due[j]))
	}
	slices.Sort(r.took)
	return r
}

// quantiles are those that are shown.
var quantiles = [...]struct {
	name string
	of   float64
}{{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}}

// quantile returns the time that a part of the calls did not exceed, 0 if
// there were none.
func (r *result) quantile(of float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	return r.took[max(0, int(math.Ceil(of*float64(len(r.took))))-1)]
}

// unanswered returns the part of the calls that were not answered.
func (r *result) unanswered() float64 { return float64(r.failed+r.expired) / float64(max(1, r.calls)) }

// table prints results.
func table(out io.Writer, results []result, troubles []trouble) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\t")
	for _, q := range quantiles {
		fmt.Fprint(w, q.name, "\t")
	}
	fmt.Fprint(w, "failed\texpired\t")
	for _, t := range troubles {
		fmt.Fprintf(w, "to %s\t", t.name)
	}
	fmt.Fprintln(w)
	for _, r := range results {
		fmt.Fprint(w, r.name, "\t")
		for _, q := range quantiles {
			fmt.Fprint(w, short(r.quantile(q.of)), "\t")
		}
		fmt.Fprintf(w, "%s\t%s\t", percent(float64(r.failed)/float64(max(1, r.calls))), percent(float64(r.expired)/float64(max(1, r.calls))))
		for _, share := range r.shares {
			fmt.Fprint(w, percent(share), "\t")
		}
		fmt.Fprintln(w)
	}
	// An error means that nobody reads.
	_ = w.Flush()
	for _, r := range results {
		if len(r.picks) > 0 {
			fmt.Fprintf(out, "\npicks of %s: %s\n", r.name, r.reasons())
			fmt.Fprintf(out, "sent back by servers busier than expected: %s of the calls\n", percent(float64(r.sentBack)/float64(max(1, r.calls))))
		}
	}
	var late time.Duration
	for _, r := range results {
		late = max(late, r.late)
	}
	fmt.Fprintf(out, "\nThe latest call began %s after it was due.\n", short(late))
}

// reasons tells the picks by reason, the most frequent first.
func (r *result) reasons() string {
	var total uint64
	var names []string
	for name, n := range r.picks {
		total += n
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if r.picks[a] != r.picks[b] {
			return int(r.picks[b]) - int(r.picks[a])
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, name := range names {
		if r.picks[name] == 0 {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s", percent(float64(r.picks[name])/float64(max(1, total))), name))
	}
	return strings.Join(parts, ", ")
}

// addState adds what a caller counts: for what reasons it picked endpoints, if
// its policy tells, and what they have sent back.
func (r *result) addState(c *caller) {
	if c.mesh == nil {
		return
	}
	for _, s := range c.mesh.State().Services {
		r.sentBack += s.SentBack
		for _, p := range s.Picks {
			if r.picks == nil {
				r.picks = map[string]uint64{}
			}
			r.picks[p.Reason] += p.Picks
		}
	}
}

func percent(part float64) string {
	if part == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f %%", part*100)
}

// short tells a time as exactly as anybody wants to know.
func short(d time.Duration) string {
	unit, name := time.Millisecond, "ms"
	if d >= time.Second {
		unit, name = time.Second, "s"
	}
	v, decimals := float64(d)/float64(unit), 0
	if v < 10 {
		decimals = 2
	}
	figure := strconv.FormatFloat(v, 'f', decimals, 64)
	if decimals > 0 {
		figure = strings.TrimRight(strings.TrimRight(figure, "0"), ".")
	}
	return figure + " " + name
}
