package tulle

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
)

// Debug returns a handler that serves State: as text, or as JSON where the
// request has "format=json" in its query or accepts application/json before
// text. It only reads. What it tells is for those who run the service: do not
// put it where the service's callers can reach it.
func (m *Mesh) Debug() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this page is only read", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		s := m.State()
		if wantsJSON(r) {
			text, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			// An error means that the reader has gone.
			_, _ = w.Write(append(text, '\n'))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		s.write(w)
	})
}

func wantsJSON(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "json":
		return true
	case "text":
		return false
	}
	accept := r.Header.Get("Accept")
	j, t := strings.Index(accept, "application/json"), strings.Index(accept, "text/")
	return j >= 0 && (t < 0 || j < t)
}

// write writes the state for a person to read.
func (s *State) write(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("tulle %s, up %s, configuration %d applied %s ago", s.Version, ago(s.At, s.Started), s.Applied, ago(s.At, s.AppliedAt))
	if s.ShuttingDown {
		p("SHUTTING DOWN: new calls to services are refused")
	}
	p("unknown hosts: %s, %d passed, %d refused", s.Unknown.Policy, s.Unknown.Passed, s.Unknown.Refused)
	for _, svc := range s.Services {
		p("")
		svc.write(p, s.At)
	}
	for _, r := range s.Routes {
		p("\nroute %s: %s", r.Name, r.Calls)
		if r.P95 > 0 {
			p("  headers within: p50 %v, p95 %v", r.P50, r.P95)
		}
		for _, d := range r.Split {
			p("  to %s\tweight %d\t%d calls\t%s", label(d.Service, d.Subset), d.Weight, d.Calls, d.Policies)
		}
	}
	// An error means that the reader has gone.
	_ = w.Flush()
}

func (s *ServiceState) write(p func(string, ...any), now time.Time) {
	p("service %s (%s), %s, %s", s.Name, strings.Join(s.Hosts, ", "), s.Protocol, s.Balancer)
	p("  calls: %s", s.Calls)
	p("  policies: %s", s.Policies)
	if s.P95 > 0 {
		p("  headers within: p50 %v, p95 %v", s.P50, s.P95)
	}
	if r := s.Retries; r.Calls > 0 {
		p("  retries: %d of %d calls, %d recovered, %d over budget, %d not safe, %d exhausted, %d would have been",
			r.Retries, r.Calls, r.Recovered, r.OverBudget, r.NotSafe, r.Exhausted, r.WouldRetry)
	}
	switch d := s.Discovery; {
	case d.Error != "" && !d.Since.IsZero():
		p("  discovery: failing for %s: %s", ago(now, d.Since), d.Error)
	case !d.Answered:
		p("  discovery: has not answered yet")
	default:
		p("  discovery: answered %s ago", ago(now, d.Since))
	}
	for _, b := range s.Breakers {
		p("  breaker: %s for %s, %d of %d calls failed, opened %d times, %d refused, %d would have been%s",
			b.State, ago(now, b.Since), b.Failures, b.Calls, b.Opened, b.Refused, b.WouldRefuse, because(b.LastCause))
	}
	for _, l := range s.Limits {
		p("  limit: %d of %d in flight, %d waiting, %d refused, %d would have been", l.InFlight, l.Limit.InFlight, l.Waiting, l.Refused, l.WouldRefuse)
	}
	if text := describePicks(s.Picks); text != "" {
		p("  picks: %s", text)
	}
	if s.SentBack > 0 {
		p("  sent back by servers busier than expected: %d", s.SentBack)
	}
	for _, part := range s.Parts {
		if len(s.Parts) > 1 || part.Panic {
			p("  %s", describePart(part))
		}
	}
	for _, e := range s.Endpoints {
		state := "available"
		for i, h := range e.Holds {
			if i == 0 {
				state = ""
			}
			state += fmt.Sprintf("%s (%s", h.Hold, h.Reason)
			if h.Due.After(now) {
				state += fmt.Sprintf(", tried in %s", ago(h.Due, now))
			}
			state += ") "
		}
		p("  %s\t%s\tfor %s\t%d in flight\t%d ok\t%d failed\t%s",
			e.Addr, strings.TrimSpace(state), ago(now, e.Since), e.InFlight, e.OK, e.Failed, labels(e.Labels))
		if l := e.Load; l != nil {
			p("    says %s ago: %s", ago(now, l.At), l.LoadReport.AppendText(nil))
		}
		if r := e.RefusedReports; r != nil {
			p("    %d load reports refused, the last %s ago: %s", r.Count, ago(now, r.At), r.Reason)
		}
	}
	for _, sub := range s.Subsets {
		p("  subset %s\t%d of %d available\t%s", sub.Name, sub.Available, sub.Endpoints, labels(sub.Labels))
	}
}

// describePicks tells in a line how often there was which reason to pick.
func describePicks(picks []balancer.PickCount) string {
	var parts []string
	for _, c := range picks {
		if c.Picks > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.Picks, c.Reason))
		}
	}
	return strings.Join(parts, ", ")
}

// String tells the counts in a line.
func (c CallCounts) String() string {
	parts := []string{fmt.Sprintf("%d, %d active", c.Calls, c.Active)}
	for _, k := range sorted(c.Status) {
		parts = append(parts, fmt.Sprintf("%d %s", c.Status[k], k))
	}
	names := map[string]uint64{}
	for r, n := range c.Reasons {
		names[r.String()] = n
	}
	for _, k := range sorted(names) {
		parts = append(parts, fmt.Sprintf("%d %s", names[k], k))
	}
	return strings.Join(parts, ", ")
}

func because(cause string) string {
	if cause == "" {
		return ""
	}
	return ", last because " + cause
}

func describePart(part balancer.Part) string {
	where := slices.DeleteFunc([]string{fmt.Sprintf("priority %d", part.Priority), part.Region, part.Zone}, func(s string) bool { return s == "" })
	text := fmt.Sprintf("%s: %.3g %% of calls, %d of %d available", strings.Join(where, ", "), 100*part.Load, part.Available, part.Known)
	if part.Panic {
		text += ", PANIC: too few are left, so those held for their health are used too"
	}
	return text
}

func ago(now, then time.Time) string { return now.Sub(then).Round(time.Second).String() }

func label(service, subset string) string {
	if subset == "" {
		return service
	}
	return service + " (" + subset + ")"
}

func labels(m map[string]string) string {
	var parts []string
	for _, k := range sorted(m) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, " ")
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
