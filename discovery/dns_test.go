package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

// zone answers look-ups as its test says.
type zone struct {
	mu     sync.Mutex
	v4, v6 func(ctx context.Context, host string) ([]netip.Addr, error)
	srv    func(name string) ([]*net.SRV, error)
	asked  []time.Time
}

func (z *zone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	z.asked = append(z.asked, time.Now())
	v4, v6 := z.v4, z.v6
	z.mu.Unlock()
	if v4 == nil {
		v4 = nowhere
	}
	if v6 == nil {
		v6 = nowhere
	}
	switch network {
	case "ip4":
		return v4(ctx, host)
	case "ip6":
		return v6(ctx, host)
	}
	a, errA := v4(ctx, host)
	b, errB := v6(ctx, host)
	if errA != nil && errB != nil {
		return nil, errA
	}
	return append(a, b...), nil
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if service != "" || proto != "" || z.srv == nil {
		return "", nil, errNone
	}
	records, err := z.srv(name)
	return name, records, err
}

// answer makes z know other addresses.
func (z *zone) answer(v4, v6 func(ctx context.Context, host string) ([]netip.Addr, error)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.v4, z.v6 = v4, v6
}

var (
	errNone   = &net.DNSError{Err: "no such host", Name: "reviews", IsNotFound: true}
	errBroken = &net.DNSError{Err: "server misbehaving", Name: "reviews", IsTemporary: true}
)

func nowhere(context.Context, string) ([]netip.Addr, error) { return nil, errNone }
func failing(context.Context, string) ([]netip.Addr, error) { return nil, errBroken }
func void(context.Context, string) ([]netip.Addr, error)    { return nil, nil }
func silent(ctx context.Context, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, &net.DNSError{Err: ctx.Err().Error(), Name: "reviews", IsTimeout: true, UnwrapErr: ctx.Err()}
}

func at(addrs ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
}

func upTo(n int) []string {
	var out []string
	for i := range n + 1 {
		out = append(out, fmt.Sprintf("10.0.0.%d", i))
	}
	return out
}

func plain(n int) []endpoint.Info {
	var infos []endpoint.Info
	for _, a := range upTo(n) {
		infos = append(infos, endpoint.Info{Addr: a + ":80"})
	}
	return infos
}

func reviews(z *zone) discovery.DNS {
	return discovery.DNS{Host: "reviews", Port: 80}.WithLookup(z)
}

func TestDNSResolver(t *testing.T) {
	testResolver(t, func() subject {
		z := &zone{v4: at(upTo(1)...)}
		return subject{reviews(z), func(n int) { z.answer(at(upTo(n)...), nil) }, plain}
	})
}

func TestSRVResolver(t *testing.T) {
	testResolver(t, func() subject {
		z := &zone{v4: func(_ context.Context, host string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("10.0.0." + host)}, nil
		}}
		change := func(n int) {
			z.mu.Lock()
			defer z.mu.Unlock()
			z.srv = func(string) (out []*net.SRV, _ error) {
				for i := range n + 1 {
					out = append(out, &net.SRV{Target: fmt.Sprint(i), Port: 80, Weight: 1})
				}
				return out, nil
			}
		}
		change(1)
		return subject{discovery.DNS{Host: "_http._tcp.reviews", SRV: true}.WithLookup(z), change, func(n int) []endpoint.Info {
			infos := plain(n)
			for i := range infos {
				infos[i].Weight = 1
			}
			return infos
		}}
	})
}

// naive is a resolver of names as one writes it in five minutes: the negative
// control of what DNS promises.
type naive struct{ z *zone }

func (n naive) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		for ctx.Err() == nil {
			addrs, _ := n.z.LookupNetIP(ctx, "ip", "reviews")
			var infos []endpoint.Info
			for _, a := range addrs {
				infos = append(infos, endpoint.Info{Addr: netip.AddrPortFrom(a, 80).String()})
			}
			if ctx.Err() != nil || !yield(infos, nil) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
			}
		}
	}
}

// keeps checks that the set stays when the zone answers with v4, with an
// error that is said, and that the return of the zone is said too.
func keeps(v4 func(context.Context, string) ([]netip.Addr, error)) func(*testing.T, *zone, discovery.Resolver) error {
	return func(t *testing.T, z *zone, r discovery.Resolver) error {
		z.answer(at("10.0.0.1", "10.0.0.2"), nil)
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		z.answer(v4, nil)
		settle()
		if len(w.sets) != 1 || len(w.errs) != 1 {
			return fmt.Errorf("%v, %v, want one set and one error", w.sets, w.errs)
		}
		z.answer(at("10.0.0.1", "10.0.0.2"), nil)
		settle()
		if len(w.sets) != 2 || !same(w.sets[0], w.sets[1]) || len(w.errs) != 1 {
			return fmt.Errorf("%v, %v, want the set again", w.sets, w.errs)
		}
		return nil
	}
}

var dnsPromises = map[string]func(*testing.T, *zone, discovery.Resolver) error{
	"keeps the set when the name is not found":   keeps(nowhere),
	"keeps the set when the server fails":        keeps(failing),
	"keeps the set when the server is silent":    keeps(silent),
	"keeps the set when the answer is empty":     keeps(void),
	"takes another order for the same":           sameInAnotherOrder,
	"takes no address twice":                     noAddressTwice,
	"takes a host of two kinds for one":          twoKinds,
	"takes half an answer for none":              halfAnAnswer,
	"asks seldom while it fails":                 seldom,
	"asks at another time than others":           apart,
	"does not wait for a silent server for ever": timely,
}

func sameInAnotherOrder(t *testing.T, z *zone, r discovery.Resolver) error {
	order := 0
	z.answer(func(context.Context, string) ([]netip.Addr, error) {
		addrs, _ := at("10.0.0.1", "10.0.0.2", "10.0.0.3")(nil, "")
		order++
		return append(addrs[order%3:], addrs[:order%3]...), nil
	}, nil)
	w := watch(t, r, 0)
	defer w.cancel()
	settle()
	if len(w.sets) != 1 || order < 5 {
		return fmt.Errorf("%d sets of %d answers", len(w.sets), order)
	}
	return nil
}

func noAddressTwice(t *testing.T, z *zone, r discovery.Resolver) error {
	z.answer(at("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"), nil)
	if got := addrs(first(t, r)); got != "10.0.0.1:80" {
		return errors.New(got)
	}
	return nil
}

func twoKinds(t *testing.T, z *zone, r discovery.Resolver) error {
	z.answer(at("10.0.0.1", "10.0.0.2"), at("2001:db8::1", "2001:db8::2"))
	if got := addrs(first(t, r)); got != "10.0.0.1:80 10.0.0.2:80" {
		return errors.New(got)
	}
	z.answer(nowhere, at("2001:db8::1"))
	if got := addrs(first(t, r)); got != "[2001:db8::1]:80" {
		return errors.New(got)
	}
	return nil
}

func halfAnAnswer(t *testing.T, z *zone, r discovery.Resolver) error {
	z.answer(at("10.0.0.1"), at("2001:db8::1"))
	w := watch(t, r, 0)
	defer w.cancel()
	settle()
	z.answer(failing, at("2001:db8::1"))
	settle()
	if len(w.sets) != 1 || len(w.errs) != 1 {
		return fmt.Errorf("%v, %v, want one set and one error", w.sets, w.errs)
	}
	return nil
}

func seldom(t *testing.T, z *zone, r discovery.Resolver) error {
	z.answer(failing, nil)
	w := watch(t, r, 0)
	defer w.cancel()
	time.Sleep(time.Hour)
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.asked[1].Sub(z.asked[0]) > time.Second {
		return errors.New("waits long after the first failure")
	}
	if n := len(z.asked); n > 3600/15+10 || n < 3600/30 {
		return fmt.Errorf("asked %d times in an hour", n)
	}
	return nil
}

// apart holds that watches begun at the same moment do not go on asking at
// the same moments.
func apart(t *testing.T, z *zone, r discovery.Resolver) error {
	z.answer(at("10.0.0.1"), nil)
	a, b := watch(t, r, 0), watch(t, r, 0)
	defer a.cancel()
	defer b.cancel()
	settle()
	z.mu.Lock()
	defer z.mu.Unlock()
	if moments := slices.Compact(slices.Clone(z.asked)); len(moments) < len(z.asked)*3/4 {
		return fmt.Errorf("asked %d times at %d moments", len(z.asked), len(moments))
	}
	for i, next := range z.asked[1:] {
		if next.Sub(z.asked[i]) > 6*time.Second {
			return fmt.Errorf("asked at %v", z.asked)
		}
	}
	return nil
}

func timely(t *testing.T, z *zone, r discovery.Resolver) error {
	z.answer(silent, nil)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, err := range r.Watch(ctx) {
		if d := time.Since(start); err == nil || d != 5*time.Second {
			return fmt.Errorf("%v after %v", err, d)
		}
		return nil
	}
	return errors.New("said nothing")
}

func TestDNSPromises(t *testing.T) {
	for name, promise := range dnsPromises {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := &zone{}
				if err := promise(t, z, reviews(z)); err != nil {
					t.Error(err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				z := &zone{}
				if err := promise(t, z, naive{z}); err == nil {
					t.Error("negative control: a naive resolver passed")
				}
			})
		})
	}
}

func TestDNSFamilies(t *testing.T) {
	v4, v6 := at("10.0.0.1"), at("2001:db8::1")
	cases := []struct {
		family discovery.Family
		v4, v6 func(context.Context, string) ([]netip.Addr, error)
		want   string // "" for an error
	}{
		{discovery.PreferIPv4, v4, v6, "10.0.0.1:80"},
		{discovery.PreferIPv4, v4, failing, "10.0.0.1:80"},
		{discovery.PreferIPv4, void, v6, "[2001:db8::1]:80"},
		{discovery.PreferIPv6, v4, v6, "[2001:db8::1]:80"},
		{discovery.PreferIPv6, v4, nowhere, "10.0.0.1:80"},
		{discovery.PreferIPv6, v4, failing, ""},
		{discovery.PreferIPv6, nowhere, nowhere, ""},
		{discovery.RequireIPv4, v4, v6, "10.0.0.1:80"},
		{discovery.RequireIPv4, nowhere, v6, ""},
		{discovery.RequireIPv6, v4, v6, "[2001:db8::1]:80"},
		{discovery.RequireIPv6, v4, nowhere, ""},
		{discovery.BothFamilies, v4, v6, "10.0.0.1:80 [2001:db8::1]:80"},
		{discovery.BothFamilies, nowhere, v6, "[2001:db8::1]:80"},
		{discovery.BothFamilies, v4, void, "10.0.0.1:80"},
		{discovery.BothFamilies, v4, failing, ""},
		{discovery.BothFamilies, failing, v6, ""},
		{discovery.BothFamilies, nowhere, failing, ""},
		{discovery.BothFamilies, nowhere, nowhere, ""},
	}
	for i, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			d := reviews(&zone{v4: c.v4, v6: c.v6})
			d.Family = c.family
			for infos, err := range d.Watch(t.Context()) {
				if got := addrs(infos); got != c.want || (err == nil) != (c.want != "") {
					t.Errorf("case %d: %q, %v", i, got, err)
				}
				break
			}
		})
	}
}

func TestDNSWarnsOfASingleAddress(t *testing.T) {
	cases := []struct {
		addrs []string
		want  int
	}{{upTo(0), 1}, {upTo(1), 0}}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			d := reviews(&zone{v4: at(c.addrs...)})
			d.Logger = slog.New(slog.NewTextHandler(&log, nil))
			w := watch(t, d, 0)
			settle()
			w.cancel()
			settle()
			if got := strings.Count(log.String(), "single address"); got != c.want {
				t.Errorf("%v: %q", c.addrs, log.String())
			}
		})
	}
}

func TestDNSValidate(t *testing.T) {
	err := discovery.DNS{Host: "http://x", Family: 9, Interval: time.Nanosecond, Timeout: -1}.Validate()
	want := []string{
		`host: "http://x" is no name of a host`,
		"port: is required without SRV",
		"family: 9 is none",
		"interval: 1ns is less than 10ms",
		"timeout: -1ns is less than 10ms",
	}
	if err == nil || !slices.Equal(strings.Split(err.Error(), "\n"), want) {
		t.Errorf("%v", err)
	}
	for _, d := range []discovery.DNS{{}, {Host: "a b", Port: 1}, {Host: "a:1", Port: 1}, {Host: "a", Port: 1, SRV: true}} {
		if d.Validate() == nil {
			t.Errorf("%+v passed", d)
		}
	}
	for _, d := range []discovery.DNS{
		{Host: "reviews.", Port: 1}, {Host: "2001:db8::1", Port: 1}, {Host: "_http._tcp.reviews", SRV: true},
	} {
		if err := d.Validate(); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func TestDNSEquality(t *testing.T) {
	own := &net.Resolver{}
	var a, b discovery.Resolver = discovery.DNS{Host: "x", Resolver: own}, discovery.DNS{Host: "x", Resolver: own}
	if a != b || a == discovery.Resolver(discovery.DNS{Host: "x"}) {
		t.Error("equality is not that of the configuration")
	}
}
