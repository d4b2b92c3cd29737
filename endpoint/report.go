package endpoint

import (
	"strconv"
	"strings"
	"time"
)

// LoadReportHeader is the response header, or trailer, that carries a
// LoadReport, in the canonical form of net/http.
const LoadReportHeader = "Endpoint-Load-Metrics"

// LoadReport is what a server says about its own load on a response. On the
// wire it is the TEXT form of ORCA, the Open Request Cost Aggregation of
// Envoy and gRPC:
//
//	Endpoint-Load-Metrics: TEXT cpu_utilization=0.31,rps_fractional=120.5,named_metrics.rif=12
//
// A zero figure is one that is not known or that is nothing; ORCA does not
// tell the two apart.
type LoadReport struct {
	// CPU and Application are fractions of what the server can use of its
	// processors and of what it chose to call its utilization, 0 to 1000.
	// More than 1 is beyond a soft limit. Memory is a fraction up to 1.
	CPU         float64 `json:"cpu,omitzero"`
	Memory      float64 `json:"memory,omitzero"`
	Application float64 `json:"application,omitzero"`
	// RPS and EPS are requests and errors per second over all callers.
	RPS float64 `json:"rps,omitzero"`
	EPS float64 `json:"eps,omitzero"`
	// InFlight is how many requests are at the server, those that wait in line
	// included and the one that the report travels with not, and Limit how many
	// it works on at once before others wait. They travel as named_metrics.rif
	// ("requests in flight") and named_metrics.lim.
	InFlight float64 `json:"inFlight,omitzero"`
	Limit    float64 `json:"limit,omitzero"`
	// ServiceTime is how long a request takes at the server without waiting,
	// at most a day. It travels in milliseconds, as named_metrics.ms.
	ServiceTime time.Duration `json:"serviceTime,omitzero"`
	// Leaving says that the server is about to stop and wants no more calls.
	// It travels as named_metrics.leaving=1.
	Leaving bool `json:"leaving,omitzero"`
	// SentBack says that the server has not worked on the request, because it
	// is busier than the caller expected. It travels as named_metrics.back=1.
	SentBack bool `json:"sentBack,omitzero"`
	// Named holds every other figure of the maps of ORCA, at most 32. Its
	// order is that of the wire.
	Named []Metric `json:"named,omitzero"`
}

// Metric is a figure of a LoadReport that has no field of its own.
type Metric struct {
	// Name is the name on the wire, which begins with that of its map:
	// "named_metrics.", "utilization." or "request_cost.". It has at most 128
	// printable ASCII characters other than space, comma, '=', ':' and '"'.
	Name string `json:"name,omitzero"`
	// Value is from 0 to 1000 for a utilization, else up to 1e15, and is
	// negative in named_metrics only.
	Value float64 `json:"value,omitzero"`
}

const (
	textPrefix = "TEXT "

	maxNamed       = 32
	maxName        = 128
	maxUtilization = 1000
	// maxFigure is far beyond any rate or count and still exact in a float64.
	maxFigure      = 1e15
	maxServiceTime = 24 * time.Hour
)

// members lists what has a field of its own, in the order in which it is
// written, with its greatest value.
var members = [...]struct {
	name string
	high float64
}{
	{"cpu_utilization", maxUtilization},
	{"mem_utilization", 1},
	{"application_utilization", maxUtilization},
	{"rps_fractional", maxFigure},
	{"eps", maxFigure},
	{"named_metrics.rif", maxFigure},
	{"named_metrics.lim", maxFigure},
	{"named_metrics.ms", float64(maxServiceTime / time.Millisecond)},
	{"named_metrics.leaving", 1},
	{"named_metrics.back", 1},
}

// member returns the index in members, -1 if the name has no field.
func member(name string) int { return memberFrom(0, name) }

// memberFrom looks at the members from the given one on first.
func memberFrom(from int, name string) int {
	for i := range members {
		if from+i >= len(members) {
			from -= len(members)
		}
		if members[from+i].name == name {
			return from + i
		}
	}
	return -1
}

// figures returns the figures of the members.
func (r *LoadReport) figures() [len(members)]float64 {
	return [...]float64{
		r.CPU, r.Memory, r.Application, r.RPS, r.EPS, r.InFlight, r.Limit,
		float64(r.ServiceTime) / float64(time.Millisecond), figure(r.Leaving), figure(r.SentBack),
	}
}

func figure(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (r *LoadReport) set(i int, v float64) {
	fields := [...]*float64{&r.CPU, &r.Memory, &r.Application, &r.RPS, &r.EPS, &r.InFlight, &r.Limit}
	switch {
	case i < len(fields):
		*fields[i] = v
	case i == len(fields):
		// Rounded, for few fractions of a millisecond are exact in binary.
		r.ServiceTime = time.Duration(v*float64(time.Millisecond) + 0.5)
	case i == len(fields)+1:
		r.Leaving = v > 0
	default:
		r.SentBack = v > 0
	}
}

// limits returns the range of a figure in one of the maps of ORCA. Other
// names are not kept.
func limits(name string) (low, high float64, kept bool) {
	switch table, _, _ := strings.Cut(name, "."); table {
	case "named_metrics":
		return -maxFigure, maxFigure, true
	case "utilization":
		return 0, maxUtilization, true
	case "request_cost":
		return 0, maxFigure, true
	default:
		return 0, 0, false
	}
}

// AppendText appends the value of the header to b and returns the longer
// slice; a report without figures appends nothing. Figures below 10 are
// rounded to three decimals, others to four digits or, from 1000 on, to whole
// numbers; those of Named are written in full. What ParseLoadReport would
// refuse is left out, so that it reads every text written here.
//
// Without Memory, Leaving, SentBack and Named, and with figures below 100,000, the text
// has at most 160 bytes. It does not allocate if b has room for it.
func (r LoadReport) AppendText(b []byte) []byte {
	start := len(b)
	b = append(b, textPrefix...)
	for i, v := range r.figures() {
		b = appendFigure(b, i, v)
	}
	for i, m := range r.Named {
		if i == maxNamed {
			break
		}
		low, high, kept := limits(m.Name)
		if !kept || !within(m.Value, low, high) || !validName(m.Name) || member(m.Name) >= 0 || named(r.Named[:i], m.Name) {
			continue
		}
		b = append(append(b, m.Name...), '=')
		b = append(strconv.AppendFloat(b, m.Value, 'g', -1, 64), ',')
	}
	if len(b) == start+len(textPrefix) {
		return b[:start]
	}
	return b[:len(b)-1]
}

// appendFigure appends "name=v,", or nothing if v is out of range or rounds
// to nothing.
func appendFigure(b []byte, i int, v float64) []byte {
	if !within(v, 0, members[i].high) {
		return b
	}
	parts := uint64(1000) // of one
	for edge := 10.0; parts > 1 && v >= edge; edge *= 10 {
		parts /= 10
	}
	n := uint64(v*float64(parts) + 0.5)
	if n == 0 {
		return b
	}
	b = append(append(b, members[i].name...), '=')
	b = strconv.AppendUint(b, n/parts, 10)
	if rest := n % parts; rest > 0 {
		b = append(b, '.')
		for ; rest > 0; rest = rest * 10 % parts {
			b = append(b, '0'+byte(rest*10/parts))
		}
	}
	return append(b, ',')
}

// within is false for what is not a number.
func within(v, low, high float64) bool { return v >= low && v <= high }

func named(ms []Metric, name string) bool {
	for i := range ms {
		if ms[i].Name == name {
			return true
		}
	}
	return false
}

// validName reports whether name can stand in a report, which says nothing
// about whether ORCA knows it.
func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == ',' || c == '=' || c == ':' || c == '"':
			return false
		}
	}
	return name != "" && len(name) <= maxName && !strings.HasSuffix(name, ".")
}
