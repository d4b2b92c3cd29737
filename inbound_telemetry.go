package tulle

import (
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/telemetry"
)

// watch begins the span of the request. It comes before all stages, so that
// what they refuse is seen as well.
func (v *visit) watch(r *http.Request) {
	if s := v.mesh.recorder.Server(); s != nil {
		v.Context = s.Start(v.Context, r, v.trusts(r))
	}
}

// watched tells of the request that has been answered.
func (v *visit) watched(r *http.Request, status int, reason outcome.Reason, panicked bool) {
	s := v.mesh.recorder.Server()
	if s == nil {
		return
	}
	pattern, ctx := r.Pattern, v.Context
	if v.guard != nil {
		ctx = v.request.Context()
		if v.request.Pattern != "" {
			pattern = v.request.Pattern
		}
	}
	who, _ := identity.FromContext(ctx)
	s.Done(v, telemetry.Served{
		Request: r, Pattern: pattern, Rule: v.guards.nameOf(v.guard), Status: status, Bytes: v.writer.Bytes(), Reason: reason,
		Principal: who.Kind, Duration: time.Since(v.start), Panicked: panicked,
	})
}

// trusts reports whether the peer of a request is believed.
func (v *visit) trusts(r *http.Request) bool {
	// An address that is none is in no network.
	addr, _ := identity.PeerAddr(r.RemoteAddr)
	t := v.guards.config.Trust
	if len(t.Principals) == 0 {
		return t.Trusts(addr, identity.Principal{})
	}
	return t.Trusts(addr, v.mesh.peers.of(r))
}

// nameOf returns the name of the rule that a guard is of, "" for none.
func (g *guards) nameOf(guard *guard) string {
	for _, r := range g.rules {
		if r.guard == guard {
			return r.name
		}
	}
	return ""
}

// collectInbound gives what is counted of requests that come to the process,
// if it serves any.
func (m *Mesh) collectInbound(g *guards, emit func(telemetry.Point)) {
	leaving := m.leaving.Load()
	if !leaving && m.visits.calls.Load() == 0 && !m.serves() {
		return
	}
	of := func(metric telemetry.Metric, kind string, v float64) {
		emit(telemetry.Point{Metric: metric, Kind: kind, Value: v})
	}
	for _, r := range outcome.Reasons() {
		if n := m.visits.reasons[r].Load(); n > 0 {
			of(telemetry.InboundRefused, r.String(), float64(n))
		}
	}
	would := map[string]uint64{}
	for _, p := range m.inboundReport(g) {
		would[p.Policy] += p.Would
	}
	for policy, n := range would {
		of(telemetry.InboundWouldRefuse, policy, float64(n))
	}
	of(telemetry.InboundStripped, "", float64(m.stripped.Load()))
	of(telemetry.InboundBadHints, "", float64(m.badHints.Load()))
	state := 0.
	if leaving {
		state = 1
	}
	of(telemetry.InboundLeaving, "", state)
	if g.overload != nil {
		s, mode := g.overload.Stats(), g.config.Overload.Mode.String()
		of(telemetry.OverloadLimit, mode, float64(s.Limit))
		of(telemetry.OverloadActive, mode, float64(s.InFlight))
		of(telemetry.OverloadWaiting, mode, float64(s.Waiting))
		of(telemetry.OverloadSentBack, mode, float64(s.SentBack+s.WouldSendBack))
	}
	g.workers.collect(emit)
	m.collectKeySets(time.Now(), emit)
}

// collectKeySets gives how things stand with the key sets that are fetched. Of
// those whose URLs differ in what is secret alone it is the worst.
func (m *Mesh) collectKeySets(now time.Time, emit func(telemetry.Point)) {
	ages, usable := map[string]time.Duration{}, map[string]float64{}
	for _, s := range m.keySets.Stats() {
		if s.Fetched.IsZero() {
			s.Age = now.Sub(m.started)
		}
		is := 0.
		if s.Usable {
			is = 1
		}
		if was, ok := usable[s.URL]; ok {
			is = min(is, was)
		}
		ages[s.URL], usable[s.URL] = max(ages[s.URL], s.Age), is
	}
	for url, age := range ages {
		emit(telemetry.Point{Metric: telemetry.KeySetAge, Kind: url, Value: age.Seconds()})
		emit(telemetry.Point{Metric: telemetry.KeySetUsable, Kind: url, Value: usable[url]})
	}
}

// collect gives the refusals of rate limits by policy, and those of tokens by
// what was wrong with them, of what is enforced. What several rules share is
// that of none.
func (w workers) collect(emit func(telemetry.Point)) {
	points := map[telemetry.Point]uint64{}
	for key, each := range w {
		switch does := each.does.(type) {
		case *ratelimit.Limiter:
			observed := Guard{RateLimit: new(each.policy.(ratelimit.Config))}
			for _, p := range does.Stats().Policies {
				if !observed.observesLimit(p.Name) {
					points[telemetry.Point{Metric: telemetry.InboundRateLimited, Rule: key.owner, Kind: p.Name}] += p.Refused
				}
			}
		case *doorman:
			if each.policy.(authn.Policy).Mode == outcome.Observe {
				continue
			}
			for kind, n := range does.Stats().Refused {
				points[telemetry.Point{Metric: telemetry.InboundUnauthenticated, Rule: key.owner, Kind: kind.String()}] += n
			}
		}
	}
	for p, n := range points {
		p.Value = float64(n)
		emit(p)
	}
}
