package overload

import (
	"math"
	"runtime"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func files(texts map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range texts {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func TestQuota(t *testing.T) {
	for name, row := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"none": {nil, 0},
		"version 2, in a container": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n",
		}, 1.5},
		"version 2, on the host": {map[string]string{
			"proc/self/cgroup":                                   "0::/system.slice/reviews.service\n",
			"sys/fs/cgroup/system.slice/cpu.max":                 "max 100000\n",
			"sys/fs/cgroup/system.slice/reviews.service":         "",
			"sys/fs/cgroup/system.slice/reviews.service/cpu.max": "50000 100000\n",
		}, .5},
		"version 2, the group above allows less": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "100000 100000", "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
		}, 1},
		"version 2, no quota": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n",
		}, 0},
		"version 1, with the path of the host": {map[string]string{
			"proc/self/cgroup":                                 "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":       "250000\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us":      "100000\n",
			"sys/fs/cgroup/memory/docker/memory.limit":         "1",
			"sys/fs/cgroup/cpuset/docker/abc/cpu.cfs_quota_us": "1",
		}, 2.5},
		"version 1, no quota": {map[string]string{
			"proc/self/cgroup": "4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 0},
		"nonsense": {map[string]string{
			"proc/self/cgroup": "\n0::\nx:y\n0::/../../etc\n4:cpu:\n", "sys/fs/cgroup/cpu.max": "1e9 0\n", "sys/fs/cgroup/etc/cpu.max": "-5 100",
		}, 0},
	} {
		got := quotaIn(files(row.files))
		assert.InDelta(t, row.want, got, 1e-9, name)
	}
}

func TestProcessCPU(t *testing.T) {
	before, ok := cpuTime()
	if !ok {
		assert.True(t, math.IsNaN(processCPU(new(processors))()))
		return
	}
	part := processCPU(new(processors))
	for now := before; now < before+20*time.Millisecond; now, _ = cpuTime() {
	}
	got := part()
	assert.Positive(t, got)
	assert.Less(t, got, 1000.)
}

// What a process may use of the processors is asked for anew, a quota each
// minute.
func TestProcessors(t *testing.T) {
	t.Cleanup(runtime.SetDefaultGOMAXPROCS)
	synctest.Test(t, func(t *testing.T) {
		runtime.GOMAXPROCS(4)
		now := time.Now()
		p := processors{read: now}
		assert.EqualValues(t, 4, p.count(now), "any number")
		p.quota = 2.5
		assert.EqualValues(t, 2.5, p.count(now.Add(quotaAge)))
		p.quota = 9
		assert.EqualValues(t, 4, p.count(now))
		p.quota = .001
		p.count(now.Add(quotaAge + 1))
		assert.NotEqual(t, .001, p.quota, "the quota of long ago")

		var m meter
		m.init(Options{CPU: func() float64 { return -1 }})
		m.processors = processors{quota: 2.5, read: now}
		time.Sleep(beat)
		m.tick(time.Now())
		assert.EqualValues(t, 2, m.found.Load().processors, "each request has one of its own")
		m.processors.quota = .5
		time.Sleep(beat)
		m.tick(time.Now())
		assert.EqualValues(t, 1, m.found.Load().processors)

		m = meter{}
		m.init(Options{CPU: func() float64 { return -1 }, Processors: 7})
		m.processors = processors{quota: 2.5, read: now}
		time.Sleep(beat)
		m.tick(time.Now())
		assert.EqualValues(t, 7, m.found.Load().processors)
	})
}
