package overload

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// mostFile is more than a file of a control group ever has.
const mostFile = 64 << 10

// quotaIn returns how many processors the control groups of this process allow
// it, 0 for any number. fsys is the root of the file system. Groups are looked
// for where systems mount them. Within a container the path of the group may
// be one of the host, of which only the root is visible, so every group on the
// way up is asked; each of them limits all below it.
func quotaIn(fsys fs.FS) float64 {
	least := math.Inf(1)
	for line := range strings.Lines(text(fsys, "proc/self/cgroup")) {
		// "hierarchy-ID:controller-list:cgroup-path" - cgroups(7)
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		group := path.Join("/", fields[2])
		switch {
		case fields[0] == "0" && fields[1] == "":
			climb(group, func(dir string) {
				least = min(least, parseMax(text(fsys, path.Join("sys/fs/cgroup", dir, "cpu.max"))))
			})
		case hasCPU(fields[1]):
			climb(group, func(dir string) {
				// Both names are common, one a link to the other.
				for _, mount := range []string{"sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"} {
					quota := text(fsys, path.Join(mount, dir, "cpu.cfs_quota_us"))
					period := text(fsys, path.Join(mount, dir, "cpu.cfs_period_us"))
					least = min(least, parseMax(quota+" "+period))
				}
			})
		}
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

func hasCPU(controllers string) bool {
	for c := range strings.SplitSeq(controllers, ",") {
		if c == "cpu" {
			return true
		}
	}
	return false
}

// climb calls f for group and each above it, up to the root.
func climb(group string, f func(dir string)) {
	for ; ; group = path.Dir(group) {
		f(group)
		if group == "/" {
			return
		}
	}
}

// parseMax reads "quota period", both in microseconds, as the number of
// processors, infinite if there is no quota or it is none.
func parseMax(s string) float64 {
	fields := strings.Fields(s)
	if len(fields) != 2 {
		return math.Inf(1)
	}
	// No quota is "max" in version 2 and -1 in version 1.
	quota, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || quota <= 0 {
		return math.Inf(1)
	}
	period, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || period <= 0 {
		return math.Inf(1)
	}
	return float64(quota) / float64(period)
}

// text returns a small file, "" if there is none.
func text(fsys fs.FS, name string) string {
	b, err := fs.ReadFile(fsys, name)
	if err != nil || len(b) > mostFile {
		return ""
	}
	return string(b)
}
