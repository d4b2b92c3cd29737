// Bookinfo is a small shop of four services, each endpoint of it a process of
// its own, that shows what a mesh inside the services does:
//
//	go run ./examples/bookinfo
//
// See README.md for what to try by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	// The threads that start processes must last, see endWithParent.
	runtime.LockOSThread()
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bookinfo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == serviceCommand {
		return serve(args[1:], os.Stdin, os.Stdout)
	}
	flags := flag.NewFlagSet("bookinfo", flag.ContinueOnError)
	checking := flags.Bool("check", false, "walk through the tasks unattended and fail if one does not come to what it expects")
	name := flags.String("task", "", "walk through this task only")
	list := flags.Bool("list", false, "list the tasks")
	port := flags.Int("port", 9080, "port of the page; another is taken if it is not free")
	seed := flags.Uint64("seed", 0, "seed of all chance; 0 is a different one each time, for a check a fixed one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*name)
	if err != nil {
		return err
	}
	if *list {
		for _, t := range chosen {
			fmt.Printf("%-10s %s\n", t.name, t.title)
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *checking {
		if *seed == 0 {
			*seed = checkSeed
		}
		return check(ctx, os.Stdout, chosen, *seed)
	}
	return show(ctx, os.Stdout, chosen, *port, *seed)
}

// choose returns the task of a name, all of them for "".
func choose(name string) ([]task, error) {
	if name == "" {
		return tasks(), nil
	}
	for _, t := range tasks() {
		if t.name == name {
			return []task{t}, nil
		}
	}
	return nil, fmt.Errorf("there is no task %q; -list tells which there are", name)
}
