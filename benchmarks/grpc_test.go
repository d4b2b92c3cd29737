package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	orca "github.com/cncf/xds/go/xds/data/orca/v3"
	"github.com/stretchr/testify/require"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/ringhash"
	"google.golang.org/grpc/balancer/weightedroundrobin"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
)

// theirs is a balancer of grpc-go, between connections that are ready at once.
func theirs(name, config string) func(testing.TB, int) asked {
	return func(tb testing.TB, n int) asked {
		channel, infos := newChannel(tb), pickInfos()
		build(tb, channel, name, config, n)
		picker := channel.ready(tb, n, name == ringhash.Name, infos)
		return alone(func(i int) (string, error) {
			return askGRPC(picker, infos[i%len(infos)], nil)
		})
	}
}

// theirsReporting is the weighted_round_robin of grpc-go, told of reports at
// the end of each call. Without reports it is a round robin.
func theirsReporting(tb testing.TB, n int) asked {
	reports := make(map[string]*orca.OrcaLoadReport, n)
	for i := range n {
		reports[addr(i)] = &orca.OrcaLoadReport{RpsFractional: able(i), CpuUtilization: 0.5}
	}
	channel, infos := newChannel(tb), pickInfos()
	build(tb, channel, weightedroundrobin.Name, `{"blackoutPeriod":"0s"}`, n)
	picker := channel.ready(tb, n, false, infos)
	ask := func(i int) (string, error) { return askGRPC(picker, infos[i%len(infos)], reports) }
	// Its schedule is renewed each second.
	for end := time.Now().Add(time.Minute); ; {
		times := map[string]int{}
		for i := range 20 * n {
			chosen, err := ask(i)
			require.NoError(tb, err)
			times[chosen]++
		}
		if times[addr(6)] > 3*times[addr(0)] {
			return alone(ask)
		}
		require.True(tb, time.Now().Before(end), "no schedule")
		runtime.Gosched()
	}
}

// pickInfos has one for each key.
func pickInfos() []grpcbalancer.PickInfo {
	infos := make([]grpcbalancer.PickInfo, len(keys))
	for i, k := range keys {
		infos[i].Ctx = metadata.NewOutgoingContext(context.Background(), metadata.Pairs(keyField, k))
	}
	return infos
}

// build makes a balancer and tells it of n endpoints.
func build(tb testing.TB, channel *channel, name, config string, n int) {
	builder := grpcbalancer.Get(name)
	b := builder.Build(channel, grpcbalancer.BuildOptions{})
	channel.closes = b.Close
	var state grpcbalancer.ClientConnState
	if parser, ok := builder.(grpcbalancer.ConfigParser); ok {
		var err error
		state.BalancerConfig, err = parser.ParseConfig(json.RawMessage(config))
		require.NoError(tb, err)
	}
	for i := range n {
		a := resolver.Address{Addr: addr(i)}
		state.ResolverState.Addresses = append(state.ResolverState.Addresses, a)
		state.ResolverState.Endpoints = append(state.ResolverState.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{a}})
	}
	channel.later(func() { _ = b.UpdateClientConnState(state) })
}

// askGRPC picks, and ends the call with the report of who was chosen, if any.
func askGRPC(picker grpcbalancer.Picker, info grpcbalancer.PickInfo, reports map[string]*orca.OrcaLoadReport) (string, error) {
	picked, err := picker.Pick(info)
	if err != nil {
		return "", err
	}
	chosen := picked.SubConn.(*connection).addr
	if picked.Done != nil {
		var done grpcbalancer.DoneInfo
		if reports != nil {
			done.ServerLoad = reports[chosen]
		}
		picked.Done(done)
	}
	return chosen, nil
}

// channel is what a balancer of grpc-go needs of its surroundings. It tells
// news one after the other, on a goroutine of its own.
type channel struct {
	grpcbalancer.ClientConn

	mu     sync.Mutex
	more   *sync.Cond
	news   []func()
	closed bool
	up     int
	picker grpcbalancer.Picker
	closes func() // the balancer
}

func newChannel(tb testing.TB) *channel {
	c := &channel{}
	c.more = sync.NewCond(&c.mu)
	var wg sync.WaitGroup
	wg.Go(c.tell)
	tb.Cleanup(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.more.Signal()
		wg.Wait()
		if c.closes != nil {
			c.closes()
		}
	})
	return c
}

func (c *channel) later(f func()) {
	c.mu.Lock()
	c.news = append(c.news, f)
	c.mu.Unlock()
	c.more.Signal()
}

func (c *channel) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed {
		if len(c.news) == 0 {
			c.more.Wait()
			continue
		}
		f := c.news[0]
		c.news = c.news[1:]
		c.mu.Unlock()
		f()
		c.mu.Lock()
	}
}

// ready returns the picker that all of infos can be picked with. One that is
// lazy connects to an endpoint when it is first picked, others to all at once.
func (c *channel) ready(tb testing.TB, n int, lazy bool, infos []grpcbalancer.PickInfo) grpcbalancer.Picker {
	tb.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); runtime.Gosched() {
		c.mu.Lock()
		picker, up, quiet := c.picker, c.up, len(c.news) == 0
		c.mu.Unlock()
		if picker == nil || !quiet {
			continue
		}
		missing := false
		for _, info := range infos {
			result, err := picker.Pick(info)
			missing = missing || err != nil
			if result.Done != nil {
				result.Done(grpcbalancer.DoneInfo{})
			}
		}
		if !missing && (lazy || up == n) {
			return picker
		}
	}
	tb.Fatal("connections are not ready")
	return nil
}

func (c *channel) NewSubConn(addrs []resolver.Address, o grpcbalancer.NewSubConnOptions) (grpcbalancer.SubConn, error) {
	if len(addrs) != 1 {
		return nil, errors.New("not one address")
	}
	return &connection{channel: c, addr: addrs[0].Addr, listen: o.StateListener}, nil
}

func (c *channel) UpdateState(s grpcbalancer.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.picker = s.Picker
}

func (c *channel) ResolveNow(resolver.ResolveNowOptions)  {}
func (c *channel) Target() string                         { return service }
func (c *channel) MetricsRecorder() stats.MetricsRecorder { return noMetrics{} }

// noMetrics records nothing.
type noMetrics struct{ stats.MetricsRecorder }

func (noMetrics) RecordInt64Count(*stats.Int64CountHandle, int64, ...string)       {}
func (noMetrics) RecordFloat64Histo(*stats.Float64HistoHandle, float64, ...string) {}

// connection is ready as soon as somebody wants it to connect.
type connection struct {
	grpcbalancer.SubConn
	channel *channel
	addr    string
	listen  func(grpcbalancer.SubConnState)
}

func (c *connection) Connect() {
	for _, s := range []connectivity.State{connectivity.Connecting, connectivity.Ready} {
		c.channel.later(func() { c.listen(grpcbalancer.SubConnState{ConnectivityState: s}) })
	}
}

func (c *connection) RegisterHealthListener(listen func(grpcbalancer.SubConnState)) {
	c.channel.later(func() {
		listen(grpcbalancer.SubConnState{ConnectivityState: connectivity.Ready})
		c.channel.mu.Lock()
		c.channel.up++
		c.channel.mu.Unlock()
	})
}

func (c *connection) Shutdown() {}
