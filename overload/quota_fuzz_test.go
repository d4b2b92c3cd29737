package overload

import (
	"math"
	"testing"
)

func FuzzQuota(f *testing.F) {
	f.Add("0::/\n", "150000 100000\n", "100000", "100000")
	f.Add("4:cpu,cpuacct:/docker/abc\n", "max 100000", "-1", "100000")
	f.Add("0::/../..//x\x00\n", "1 9223372036854775807", "9223372036854775807", "1")
	f.Fuzz(func(t *testing.T, groups, maximum, quota, period string) {
		got := quotaIn(files(map[string]string{
			"proc/self/cgroup": groups, "sys/fs/cgroup/cpu.max": maximum,
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota, "sys/fs/cgroup/cpu/cpu.cfs_period_us": period,
		}))
		if !(got >= 0) || math.IsInf(got, 0) {
			t.Fatal(got)
		}
	})
}
