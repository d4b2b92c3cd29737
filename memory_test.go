//go:build !race

package tulle_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
)

// An endpoint that is known costs a bounded amount of memory, before it has
// connections, and with all that judges it.
func TestBudgetOfMemoryPerEndpoint(t *testing.T) {
	const n = 2000
	infos := make([]endpoint.Info, n)
	for i := range infos {
		infos[i] = endpoint.Info{Addr: net.JoinHostPort(fmt.Sprintf("10.1.%d.%d", i>>8, i&255), "80"), Zone: "a"}
	}
	for _, row := range []struct {
		name     string
		policies tulle.Policies
		most     uint64
	}{
		{"without policies", tulle.Policies{}, 4 << 10},
		{"outliers", tulle.Policies{Outliers: &health.Outliers{}}, 5 << 10},
		{"outliers, breaker, probe", tulle.Policies{
			Outliers: &health.Outliers{}, EndpointBreaker: &breaker.Policy{},
			Probe: &health.Probe{Interval: time.Hour, Timeout: time.Hour},
		}, 7 << 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := tulle.Config{Services: []tulle.Service{{
				Name: "reviews", Resolver: discovery.NewStatic(infos...), Balancer: balancer.PeakEWMA{}, Policies: row.policies,
			}}}
			before := heap()
			m, err := tulle.New(c, tulle.WithDialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}))
			require.NoError(t, err)
			require.NoError(t, m.Ready(t.Context()))
			each := (heap() - before) / n
			t.Logf("%d bytes each", each)
			require.LessOrEqual(t, each, row.most)
			require.NoError(t, m.Shutdown(t.Context()))
		})
	}
}

func heap() uint64 {
	var s runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
