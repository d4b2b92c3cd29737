//go:build !unix

package overload

import "time"

// cpuTime knows nothing here.
func cpuTime() (time.Duration, bool) { return 0, false }
