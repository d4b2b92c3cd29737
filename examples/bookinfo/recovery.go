package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// outAndBack looks at pages until the mesh of reviews v3 leaves out those
// processes of ratings, ends their trouble, and looks again until they are
// back. Under rules that leave nobody out it only ends the trouble.
func (f *fleet) outAndBack(ctx context.Context, these []*process, end func(context.Context) error) error {
	if err := errors.Join(f.untilLeftOut(ctx, these), end(ctx)); err != nil {
		return err
	}
	if err := f.untilDue(ctx); err != nil {
		return err
	}
	return f.until(ctx, "back", func(ratings serviceView) bool { return len(ratings.out()) == 0 })
}

// untilLeftOut looks at pages until the mesh of reviews v3 leaves out those
// processes of ratings.
func (f *fleet) untilLeftOut(ctx context.Context, these []*process) error {
	return f.until(ctx, "left out", func(ratings serviceView) bool {
		out := ratings.out()
		return !slices.ContainsFunc(these, func(p *process) bool {
			return !slices.ContainsFunc(out, func(e endpointView) bool { return e.Addr == p.addr })
		})
	})
}

// until looks at pages until the mesh of reviews v3 knows of ratings what it
// should, if it leaves out endpoints at all.
func (f *fleet) until(ctx context.Context, what string, is func(serviceView) bool) error {
	if f.rules.outliers == nil {
		return nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		ratings, err := f.ratings(ctx)
		if err != nil {
			return err
		}
		if is(ratings) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("endpoints of ratings are not %s after %v", what, patience)
		}
		if _, err := f.look(ctx, ""); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// untilDue waits until calls may try all endpoints of ratings that are left
// out.
func (f *fleet) untilDue(ctx context.Context) error {
	ratings, err := f.ratings(ctx)
	if err != nil {
		return err
	}
	for _, e := range ratings.out() {
		for _, h := range e.Holds {
			if err := waitUntil(ctx, h.Due); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitUntil returns when it is time, or ctx has ended.
func waitUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
