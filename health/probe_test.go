package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestProbeValidate(t *testing.T) {
	http := func(change func(*health.Probe)) health.Probe {
		p := health.Probe{Path: "/healthz"}
		change(&p)
		return p
	}
	for name, row := range map[string]struct {
		probe health.Probe
		want  []string
	}{
		"zero": {},
		"all set": {probe: health.Probe{
			Mode: outcome.Observe, Path: "/a/b?c=d", Method: "HEAD", Host: "shop.example:8080",
			Statuses: []health.StatusRange{{From: 200, To: 399}, {From: 503}}, Port: 1, Interval: time.Minute, Timeout: time.Minute,
			UnhealthyThreshold: 1, HealthyThreshold: 1,
		}},
		"the default time-out gives way": {probe: health.Probe{Interval: 10 * time.Millisecond}},
		"mode":                           {health.Probe{Mode: 7}, []string{"mode: 7 is neither"}},
		"method without path":            {health.Probe{Method: "GET"}, []string{"path: is empty, and method"}},
		"host without path":              {health.Probe{Host: "a"}, []string{"path: is empty"}},
		"statuses without path":          {health.Probe{Statuses: []health.StatusRange{{From: 200}}}, []string{"path: is empty"}},
		"relative path":                  {health.Probe{Path: "healthz"}, []string{`path: "healthz" is not`}},
		"path with another host":         {health.Probe{Path: ":80/healthz"}, []string{"path: "}},
		"path with user":                 {health.Probe{Path: "@elsewhere/healthz"}, []string{"path: "}},
		"fragment":                       {health.Probe{Path: "/a#b"}, []string{"path: "}},
		"empty fragment":                 {health.Probe{Path: "/a#"}, []string{"path: "}},
		"space in the query":             {health.Probe{Path: "/?a b"}, []string{"path: "}},
		"not encoded":                    {health.Probe{Path: "/ä"}, []string{"path: "}},
		"line break":                     {health.Probe{Path: "/a\r\nb"}, []string{"path: "}},
		"CONNECT":                        {http(func(p *health.Probe) { p.Method = "CONNECT" }), []string{"method: "}},
		"method of two words":            {http(func(p *health.Probe) { p.Method = "GET /" }), []string{"method: "}},
		"host with user":                 {http(func(p *health.Probe) { p.Host = "a@b" }), []string{"host: "}},
		"host with path":                 {http(func(p *health.Probe) { p.Host = "a/b" }), []string{"host: "}},
		"host with space":                {http(func(p *health.Probe) { p.Host = "a b" }), []string{"host: "}},
		"status of an interim response":  {http(func(p *health.Probe) { p.Statuses = []health.StatusRange{{From: 100, To: 299}} }), []string{"statuses[0].from: 100"}},
		"status too high":                {http(func(p *health.Probe) { p.Statuses = []health.StatusRange{{From: 200}, {From: 600}} }), []string{"statuses[1].from: 600"}},
		"empty range":                    {http(func(p *health.Probe) { p.Statuses = []health.StatusRange{{From: 300, To: 200}} }), []string{"statuses[0].to: 200"}},
		"range too far":                  {http(func(p *health.Probe) { p.Statuses = []health.StatusRange{{From: 300, To: 1000}} }), []string{"statuses[0].to: 1000"}},
		"too often":                      {health.Probe{Interval: time.Microsecond}, []string{"interval: 1µs is less than 10ms"}},
		"time-out longer than interval":  {health.Probe{Interval: time.Second, Timeout: 2 * time.Second}, []string{"timeout: 2s exceeds the interval of 1s"}},
		"time-out longer than default":   {health.Probe{Timeout: 20 * time.Second}, []string{"timeout: 20s exceeds the interval of 10s"}},
		"everything negative": {
			health.Probe{Interval: -1, Timeout: -1, UnhealthyThreshold: -1, HealthyThreshold: -2},
			[]string{"interval: -1ns is less than", "timeout: -1ns is negative", "unhealthyThreshold: -1", "healthyThreshold: -2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.probe.Validate()
			if row.want == nil {
				require.NoError(t, err)
				require.NoError(t, row.probe.Effective().Validate())
				return
			}
			require.Error(t, err)
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(row.want), "%v", err)
			for i, want := range row.want {
				assert.Contains(t, lines[i], want)
			}
		})
	}
}

func TestProbeEffective(t *testing.T) {
	assert.Equal(t, health.Probe{Interval: 10 * time.Second, Timeout: time.Second, UnhealthyThreshold: 3, HealthyThreshold: 2},
		health.Probe{}.Effective())
	assert.Equal(t, health.Probe{
		Path: "/", Method: "GET", Statuses: []health.StatusRange{{From: 200, To: 299}}, Interval: 100 * time.Millisecond,
		Timeout: 100 * time.Millisecond, UnhealthyThreshold: 3, HealthyThreshold: 2,
	}, health.Probe{Path: "/", Interval: 100 * time.Millisecond}.Effective())

	p := health.Probe{Path: "/", Statuses: []health.StatusRange{{From: 204}}}
	e := p.Effective()
	assert.Equal(t, []health.StatusRange{{From: 204, To: 204}}, e.Statuses)
	assert.Equal(t, []health.StatusRange{{From: 204}}, p.Statuses, "it shares nothing")
	assert.Equal(t, e, e.Effective())
}

func TestProbeIsText(t *testing.T) {
	p := health.Probe{Mode: outcome.Observe, Path: "/", Statuses: []health.StatusRange{{From: 204}}, Port: 81}.Effective()
	text, err := json.Marshal(p)
	require.NoError(t, err)
	var got health.Probe
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, p, got)
	text, err = json.Marshal(health.Probe{})
	require.NoError(t, err)
	assert.Equal(t, "{}", string(text))
}

func TestProbeAddr(t *testing.T) {
	for _, row := range []struct {
		addr, network, want string
		port                uint16
	}{
		{"10.0.0.1:80", "tcp", "10.0.0.1:80", 0},
		{"10.0.0.1:80", "tcp", "10.0.0.1:8081", 8081},
		{"[::1]:80", "tcp", "[::1]:8081", 8081},
		{"[fe80::1%eth0]:80", "tcp", "[fe80::1%eth0]:8081", 8081},
		{"reviews:80", "tcp", "reviews:65535", 65535},
		{"unix:/run/a.sock", "unix", "/run/a.sock", 0},
		{"unix:/run/a.sock", "unix", "/run/a.sock", 8081},
	} {
		network, addr := health.Probe{Port: row.port}.Addr(endpoint.Info{Addr: row.addr})
		assert.Equal(t, row.network, network, row.addr)
		assert.Equal(t, row.want, addr, row.addr)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int) *http.Response {
	return &http.Response{StatusCode: status, Body: http.NoBody}
}

func newEndpoint(addr string) *endpoint.Endpoint {
	e, _ := endpoint.New(endpoint.Info{Addr: addr}, time.Now())
	return e
}

// chance is a source of chance that repeats itself.
func chance(seed uint64) func() uint64 {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 5))
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return rng.Uint64()
	}
}

// half is a source of chance that is always in the middle: intervals are as
// long as they say, and the second probe comes half of one after the first.
func half() uint64 { return 1 << 63 }

var errDial = errors.New("dial failed")

func noDial(context.Context, string, string) (net.Conn, error) { return nil, errDial }
