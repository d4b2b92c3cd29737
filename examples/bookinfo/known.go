package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle"
)

// known is what the mesh of a process knows of one endpoint, for a page.
type known struct {
	Service  string `json:"service"`
	Version  string `json:"version"`
	Zone     string `json:"zone"`
	Addr     string `json:"addr"`
	State    string `json:"state"`
	InFlight int64  `json:"inFlight"`
	OK       uint64 `json:"ok"`
	Failed   uint64 `json:"failed"`
}

// knownOf tells what there is in the state of a mesh.
func knownOf(s tulle.State) []known {
	var all []known
	for _, service := range s.Services {
		for _, e := range service.Endpoints {
			all = append(all, known{
				Service: service.Name, Version: e.Labels["version"], Zone: e.Zone, Addr: e.Addr, State: stateOf(e, s.At),
				InFlight: e.InFlight, OK: e.OK, Failed: e.Failed,
			})
		}
	}
	return all
}

// stateOf tells whether calls go to an endpoint, and if not why and how long.
func stateOf(e tulle.EndpointState, now time.Time) string {
	if e.Available {
		return "available"
	}
	var why []string
	for _, h := range e.Holds {
		one := fmt.Sprintf("%s: %s", h.Hold, h.Reason)
		if h.Due.After(now) {
			one += ", tried in " + soon(h.Due.Sub(now))
		}
		why = append(why, one)
	}
	return strings.Join(why, "; ")
}

// soon tells how long something takes, not less and not too exactly.
func soon(d time.Duration) string {
	return (d + 99*time.Millisecond).Truncate(100 * time.Millisecond).String()
}
