package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// checkSeed is what all chance of a check comes from unless told otherwise.
const checkSeed = 1594

// check walks through tasks with nobody looking: on ports of its own, from a
// seed, as fast as it goes, and not for long.
func check(ctx context.Context, out io.Writer, chosen []task, seed uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	start := time.Now()
	// A busy machine must not be taken for a slow endpoint.
	f, err := startFleet(ctx, 0, seed, 5*time.Second)
	if err != nil {
		return err
	}
	defer f.stop()
	fmt.Fprintf(out, "bookinfo: check of %d processes, seed %d, started in %v\n",
		len(f.processes), seed, time.Since(start).Round(time.Millisecond))

	w := walker{fleet: f, out: out}
	var faults []error
	for _, t := range chosen {
		begun := time.Now()
		faults = append(faults, w.walk(ctx, t))
		fmt.Fprintf(out, "  took %v\n", time.Since(begun).Round(time.Millisecond))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("check failed:\n%w", err)
	}
	fmt.Fprintf(out, "\nbookinfo: ok: %d tasks as expected, and none without its policy, in %v\n",
		len(chosen), time.Since(start).Round(time.Millisecond))
	return nil
}
