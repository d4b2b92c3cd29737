package main

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/retry"
)

// settings are what a process is told of the services that it calls, and of
// the trouble that it is to make. They reach it as JSON on its standard input,
// at its start and at each change.
type settings struct {
	// Endpoints are those of each service.
	Endpoints map[string][]endpoint.Info `json:"endpoints,omitempty"`
	// Authorities are those who have signed the certificates of the services
	// that are called over TLS, in PEM form.
	Authorities map[string]string `json:"authorities,omitempty"`
	// Fresh has connections to these services used once only.
	Fresh bool `json:"fresh,omitempty"`
	// Routes say where calls go, what they are given and what befalls them.
	Routes []tulle.Route `json:"routes,omitempty"`
	// Retry says whether what failed is tried again, PerTry how long one
	// attempt may take.
	Retry  bool          `json:"retry,omitempty"`
	PerTry time.Duration `json:"perTry,omitempty"`
	// Outliers, if there are any, leave out endpoints that fail where others do
	// not.
	Outliers *health.Outliers `json:"outliers,omitempty"`
	// Nearest prefers endpoints in the zone of the process to all others.
	Nearest bool `json:"nearest,omitempty"`
	// Guard is what requests have to pass.
	Guard *tulle.Guard `json:"guard,omitempty"`
	// Grace is how long the process goes on serving when it is told to stop.
	Grace time.Duration `json:"grace,omitempty"`
	// Fault is what the service does to everybody who calls it. Those who
	// call do not know: to them it is slow or fails.
	Fault *fault.Policy `json:"fault,omitempty"`
}

// config is the mesh part of a service, all of it: the services that it
// calls, their versions as subsets, routes, time-outs, retries, and which
// endpoints are left out or preferred; and what requests to it are subject to.
// Zone is where the process runs.
func (s *settings) config(zone string) tulle.Config {
	c := tulle.Config{Routes: s.Routes, Zone: zone, Policies: tulle.Policies{Timeout: 3 * s.PerTry, Outliers: s.Outliers}}
	c.Inbound.Grace = s.Grace
	if s.Guard != nil {
		c.Inbound.Guard = *s.Guard
	}
	if s.Retry {
		// A task lets a third of all first attempts fail, which is more
		// than the default budget of a fifth lets repeat for long.
		c.Policies.Retry = &retry.Policy{PerTry: s.PerTry, Budget: retry.BudgetPolicy{Ratio: 0.5}}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Endpoints)) {
		// The default would keep away from endpoints that fail, so that there
		// would be little left for retries and ejection to show.
		service := tulle.Service{Name: name, Resolver: discovery.NewStatic(s.Endpoints[name]...), Balancer: balancer.LeastRequest{}}
		if s.Nearest {
			service.Spread.Zones = balancer.NearestZone
		}
		if text := s.Authorities[name]; text != "" {
			service.TLS = &tulle.TLS{RootCAs: x509.NewCertPool()}
			service.TLS.RootCAs.AppendCertsFromPEM([]byte(text))
			if s.Fresh {
				service.Protocol, service.Connection.IdleTimeout = tulle.HTTP1, time.Nanosecond
			}
		}
		for _, version := range versions(s.Endpoints[name]) {
			labels := map[string]string{"version": version}
			service.Subsets = append(service.Subsets, tulle.Subset{Name: version, Labels: labels})
		}
		c.Services = append(c.Services, service)
	}
	return c
}

// versions returns the versions that endpoints are labelled with, each once.
func versions(endpoints []endpoint.Info) []string {
	var all []string
	for _, e := range endpoints {
		all = append(all, e.Labels["version"])
	}
	slices.Sort(all)
	return slices.Compact(all)
}
