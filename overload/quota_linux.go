package overload

import "os"

func cpuQuota() float64 { return quotaIn(os.DirFS("/")) }
