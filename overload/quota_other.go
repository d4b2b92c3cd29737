//go:build !linux

package overload

func cpuQuota() float64 { return 0 }
