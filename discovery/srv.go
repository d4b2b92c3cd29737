package discovery

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/tulle-mesh/tulle/endpoint"
)

const (
	// srvLookups is how many targets are looked up at once.
	srvLookups = 8
	// maxScale keeps a weight of 16 bits times the scale within 32.
	maxScale = 1 << 16
)

// target is an SRV record with the addresses of its target.
type target struct {
	net.SRV
	addrs []netip.Addr
}

func (d DNS) lookSRV(ctx context.Context) ([]endpoint.Info, error) {
	_, records, err := d.source().LookupSRV(ctx, "", "", d.Host)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, &net.DNSError{Err: "no SRV record in the answer", Name: d.Host, IsNotFound: true}
	}
	// RFC 2782: "A Target of "." means that the service is decidedly not
	// available at this domain."
	if len(records) == 1 && records[0].Target == "." {
		return []endpoint.Info{}, nil
	}
	targets, err := d.targets(ctx, records)
	if err != nil {
		return nil, err
	}
	return fromTargets(targets), nil
}

// targets looks up the targets of records. Any failure but that a target is
// not found makes the whole unknown, for a part of it would be taken for all.
func (d DNS) targets(ctx context.Context, records []*net.SRV) ([]target, error) {
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	answers := map[string]*answer{}
	limit := make(chan struct{}, srvLookups)
	var wg sync.WaitGroup
	for _, r := range records {
		if answers[r.Target] != nil {
			continue
		}
		a := new(answer)
		answers[r.Target] = a
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			if ctx.Err() != nil {
				return
			}
			if a.addrs, a.err = d.addrs(ctx, r.Target); a.err != nil && !notFound(a.err) {
				fail(a.err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("targets of %s: %w", d.Host, context.Cause(ctx))
	}
	var targets []target
	var none error
	for _, r := range records {
		switch a := answers[r.Target]; {
		case a.err != nil:
			none = cmp.Or(none, fmt.Errorf("targets of %s: %w", d.Host, a.err))
		case r.Port == 0:
			none = cmp.Or(none, fmt.Errorf("targets of %s: %s has the port 0", d.Host, r.Target))
		default:
			targets = append(targets, target{*r, a.addrs})
		}
	}
	if len(targets) == 0 {
		return nil, none
	}
	return targets, nil
}

// fromTargets makes endpoints of targets. Of an address that comes twice the
// more preferred record decides.
func fromTargets(targets []target) []endpoint.Info {
	scale := uint64(1)
	for _, t := range targets {
		if n := uint64(len(t.addrs)); n > 0 {
			scale = min(lcm(scale, n), maxScale)
		}
	}
	targets = slices.Clone(targets)
	slices.SortFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Target, b.Target))
	})
	infos := []endpoint.Info{}
	taken := map[string]bool{}
	for _, t := range targets {
		share := max(1, uint64(max(1, t.Weight))*scale/uint64(max(1, len(t.addrs))))
		for _, addr := range t.addrs {
			info := endpoint.Info{
				Addr:     netip.AddrPortFrom(addr, t.Port).String(),
				Weight:   uint32(share),
				Priority: uint32(t.Priority),
			}
			if !taken[info.Addr] {
				taken[info.Addr] = true
				infos = append(infos, info)
			}
		}
	}
	return inOrder(infos)
}

// lcm returns the least number that both divide; neither is zero.
func lcm(a, b uint64) uint64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
