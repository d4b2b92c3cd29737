package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/match"
)

const (
	// showPerTry is how long one attempt at ratings may take: a person who
	// has stopped a process sees the page wait, but not for long.
	showPerTry = 300 * time.Millisecond
	showPace   = 10 * time.Millisecond
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
	return f.stay(ctx, out)
}

// stay keeps the processes up for somebody who plays with them.
func (f *fleet) stay(ctx context.Context, out io.Writer) error {
	last := rules{retry: true, routes: []tulle.Route{
		toReviews("halves", map[string]uint32{"v1": 1, "v3": 1}),
		toReviews("jason", map[string]uint32{"v2": 1}, match.Value{Name: userHeader, Exact: "jason"}),
	}}
	if err := f.apply(ctx, last); err != nil {
		fmt.Fprintln(out, "\n ", err)
	}
	ratings := f.of("ratings")[0]
	fmt.Fprintf(out, `
All processes stay up until Ctrl-C. Now it is
`)
	for _, line := range describe(last) {
		fmt.Fprintln(out, "  -", line)
	}
	fmt.Fprintf(out, `
Look at %s and try:
  - log in as jason, and the stars are black; log out, and they are red or none
  - kill %d            a ratings process ends; no page loses its stars, some take two attempts
  - kill -STOP %d      it hangs: attempts at it are cut off after %v and made elsewhere
  - kill -CONT %[2]d      it goes on
  - kill %[5]d            details ends; the other one of its kind answers
  - kill %[6]d            reviews v3 ends, and there is no other: half of the pages have a hole
What is killed is started again after %[7]v at the same address.
What the mesh of productpage knows: http://%[8]s/ (?format=json for programs)

`, f.url(), ratings.pid(), ratings.pid(), f.perTry, f.of("details")[0].pid(), f.of("reviews")[2].pid(), restartAfter, f.processes[0].debug)

	missed := map[*process]time.Time{}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for _, p := range f.processes {
				f.attend(ctx, out, p, missed, now)
			}
		}
	}
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
