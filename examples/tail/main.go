// Tail shows how long calls take by how their endpoints are chosen, in a fleet
// of real processes of which one is slow for a while, one fails, and one is
// stopped:
//
//	go run ./examples/tail
//
// See README.md for what is measured and what it says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	// The threads that start processes must last, see endWithParent.
	runtime.LockOSThread()
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "tail:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == serverCommand {
		return serve(os.Stdin, out)
	}
	flags := flag.NewFlagSet("tail", flag.ContinueOnError)
	var l load
	flags.IntVar(&l.servers, "servers", 8, "processes that serve")
	flags.IntVar(&l.callers, "callers", 40, "callers, each with a mesh of its own")
	flags.Float64Var(&l.rate, "rate", 400, "calls a second of all callers together")
	flags.DurationVar(&l.length, "for", 10*time.Second, "for how long they call under each policy")
	flags.Uint64Var(&l.seed, "seed", 1, "seed of all chance")
	names := flags.String("policies", strings.Join(policyNames(), ","), "what to compare")
	file := flags.String("svg", "", "file to draw a picture of it in")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q?", flags.Arg(0))
	}
	chosen, err := choose(*names)
	if err != nil {
		return err
	}
	if err := l.validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	fmt.Fprintf(out, "%d servers with %d workers each, %d callers, %v calls a second, %s for each policy\n",
		l.servers, workers, l.callers, l.rate, short(l.length))
	troubles := l.troubles()
	for _, t := range troubles {
		fmt.Fprintf(out, "server %d %s from %s to %s\n", t.server+1, t.what, short(t.from), short(t.to))
	}
	if !canPause {
		fmt.Fprintln(out, "no server is stopped: this system cannot stop processes")
	}
	var results []result
	for _, p := range chosen {
		fmt.Fprintf(out, "%s ...\n", p.name)
		r, err := measure(ctx, p, l, troubles)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		results = append(results, r)
	}
	fmt.Fprintln(out)
	table(out, results, troubles)
	if *file == "" {
		return nil
	}
	return os.WriteFile(*file, picture(results, l, troubles, args), 0o644)
}

// choose returns the policies of these names, in this order.
func choose(names string) ([]policy, error) {
	var chosen []policy
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(policies(), func(p policy) bool { return p.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no policy %q; there are %s", name, strings.Join(policyNames(), ", "))
		}
		chosen = append(chosen, policies()[i])
	}
	return chosen, nil
}

func policyNames() []string {
	var names []string
	for _, p := range policies() {
		names = append(names, p.name)
	}
	return names
}
