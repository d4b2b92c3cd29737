package main

import (
	"fmt"

	"github.com/tulle-mesh/tulle"
)

// shiftingTask moves calls from one version to another.
func shiftingTask() task {
	t := task{
		name:  "shifting",
		title: "traffic shifting",
		about: "Reviews v3 is to replace v1. The weights of a split move the calls over a part at a\n" +
			"time; each change takes effect with the next call and ends none that is under way.",
		without: rules{retry: true},
	}
	for _, percent := range []uint32{0, 10, 50, 100} {
		expect := map[string]float64{"v1": float64(100-percent) / 100, "v3": float64(percent) / 100}
		split := toReviews("shift", map[string]uint32{"v1": 100 - percent, "v3": percent})
		t.steps = append(t.steps, step{
			about: fmt.Sprintf("%d %% of the calls go to v3.", percent),
			rules: rules{routes: []tulle.Route{split}, retry: true},
			calls: 400, see: versionOfReviews, expect: expect,
		})
	}
	return t
}
