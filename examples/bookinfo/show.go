package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
)

const (
	// showPerTry is how long one attempt at ratings may take: a person who
	// has stopped a process sees the page wait, but not for long.
	showPerTry = 300 * time.Millisecond
	showPace   = 5 * time.Millisecond
	// restartAfter is how long a process is missed that was killed by hand.
	restartAfter = 15 * time.Second
)

// show walks through tasks for somebody who watches, and then stays up until
// ctx ends.
func show(ctx context.Context, out io.Writer, chosen []task, port int, seed uint64) error {
	f, err := startFleet(ctx, port, seed, showPerTry)
	if err != nil {
		return err
	}
	defer f.stop()
	fmt.Fprintf(out, "Bookinfo runs as %d processes on loopback:\n\n", len(f.processes))
	f.table(out)
	fmt.Fprintf(out, "\n  page: %s\n", f.url())

	w := walker{fleet: f, out: out, live: isTerminal(out), pace: showPace}
	for _, t := range chosen {
		err := w.walk(ctx, t)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			fmt.Fprintf(out, "\n  not as expected: %v\n", err)
		}
	}
	f.stay(ctx, out)
	return nil
}

// stay keeps the processes up for somebody who plays with them.
func (f *fleet) stay(ctx context.Context, out io.Writer) {
	last := lasting()
	if err := f.apply(ctx, last); err != nil {
		fmt.Fprintln(out, "\n ", err)
	}
	fmt.Fprintln(out, "\nAll processes stay up until Ctrl-C. Now it is:")
	for _, line := range describe(last) {
		fmt.Fprintln(out, "  -", line)
	}
	f.hint(out)

	missed := map[*process]time.Time{}
	old, _ := f.alerts.after(0)
	told := len(old)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, p := range f.processes {
				f.attend(ctx, out, p, missed, now)
			}
			alerts, _ := f.alerts.after(told)
			told += len(alerts)
			for _, a := range alerts {
				fmt.Fprintln(out, strings.Join(a.lines(), "\n          "))
			}
		}
	}
}

// lasting are the rules for somebody who plays: all that the tasks have shown
// to protect, with the times that they have by default.
func lasting() rules {
	return rules{
		retry: true, nearest: true, outliers: &health.Outliers{MaxEjectionPercent: 67},
		routes: []tulle.Route{
			toReviews("halves", map[string]uint32{"v1": 1, "v3": 1}),
			toReviews("jason", map[string]uint32{"v2": 1}, match.Value{Name: userHeader, Exact: "jason"}),
			// Nobody makes twenty calls in ten seconds by hand.
			{Name: "ratings", Match: []match.Request{{Hosts: []string{"ratings"}}},
				Policies: tulle.Policies{Breaker: &breaker.Policy{Consecutive: 5}}},
		},
	}
}

// hint says what there is to try.
func (f *fleet) hint(out io.Writer) {
	details, v3, ratings := f.of("details")[0].pid(), f.version("reviews", "v3")[0], f.of("ratings")
	near := f.in("a", "ratings")
	fmt.Fprintf(out, "\nLook at %s and try:\n", f.url())
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "  log in as jason\tthe stars are black; for others they are red, or there are none\n")
	fmt.Fprintf(w, "  kill -STOP %d\tratings hangs; attempts at it are cut off after %v and made elsewhere, until five have been and it is left out\n", ratings[0].pid(), f.perTry)
	fmt.Fprintf(w, "  kill -CONT %d\tit goes on; after some seconds one call tries it, and it grows into its share\n", ratings[0].pid())
	fmt.Fprintf(w, "  kill %d\tratings is told to stop: it says that it is leaving, callers turn to others, and nothing is lost\n", ratings[0].pid())
	fmt.Fprintf(w, "  kill -9 %d\tratings ends; no page lacks its stars, some take two attempts until it is left out\n", ratings[0].pid())
	fmt.Fprintf(w, "  kill -9%s\ta zone of ratings is gone; the other takes the calls\n", pids(near))
	fmt.Fprintf(w, "  kill -9%s\tall are gone; the breaker opens, the stars are missing at once, and it is said here\n", pids(ratings))
	fmt.Fprintf(w, "  kill -9 %d\tdetails ends; the other endpoint answers\n", details)
	fmt.Fprintf(w, "  kill -9 %d\treviews v3 ends, and there is no other; half of the pages have a hole\n", v3.pid())
	// An error means that nobody reads.
	_ = w.Flush()
	fmt.Fprintf(out, "What is killed is started again after %v at the same address.\n", restartAfter)
	fmt.Fprintf(out, "The page shows what the meshes know of endpoints, and there is more at http://%s/ (productpage)\n", f.processes[0].debug)
	fmt.Fprintf(out, "and http://%s/ (reviews v3, which calls ratings); ?format=json is for programs.\n\n", v3.debug)
}

// pids lists the numbers of processes, each after a space.
func pids(all []*process) string {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, " %d", p.pid())
	}
	return b.String()
}

// attend notices that a process has ended, and starts it again in time.
func (f *fleet) attend(ctx context.Context, out io.Writer, p *process, missed map[*process]time.Time, now time.Time) {
	since, known := missed[p]
	switch {
	case p.running():
	case !known:
		missed[p] = now
		fmt.Fprintf(out, "%s  %s has ended: %v\n", now.Format(time.TimeOnly), p, p.err)
	case now.Sub(since) >= restartAfter:
		delete(missed, p)
		if err := f.restart(ctx, p); err != nil {
			missed[p] = now
			fmt.Fprintf(out, "%s  cannot start it again: %v\n", now.Format(time.TimeOnly), err)
			return
		}
		fmt.Fprintf(out, "%s  started again: %s\n", now.Format(time.TimeOnly), p)
	}
}

// isTerminal tells whether a person can see a line being rewritten.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
