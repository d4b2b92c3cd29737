//go:build !race

package health

import (
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// What a probed endpoint costs, once it has a verdict.
func TestMemoryOfASubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		p := NewProber(ProberOptions{})
		defer p.Close()
		all, e := make([]*Checked, n), someEndpoint()
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()
		for i := range all {
			all[i] = p.Watch(Subject{
				Name: "reviews", Endpoint: e, Probe: Probe{Path: "/healthz"}, RoundTripper: fine{}, Changed: func() {},
			})
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		each := (heap() - before) / n
		t.Logf("%d bytes", each)
		if each > 640 {
			t.Errorf("an endpoint takes %d bytes", each)
		}
		runtime.KeepAlive(all)
	})
}

// Verdicts are read by whoever builds pickers, for every endpoint.
func TestVerdictsDoNotAllocate(t *testing.T) {
	c := &Checked{}
	c.verdict.Store(&verdict{healthy: true})
	if n := testing.AllocsPerRun(100, func() { c.Verdict() }); n != 0 {
		t.Error(n)
	}
}

type fine struct{}

func (fine) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}
