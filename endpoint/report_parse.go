package endpoint

import (
	"errors"
	"strconv"
	"strings"
)

const (
	maxReport = 4 << 10
	maxNumber = 32
)

// LoadReportError says why a load report was refused. It wraps
// errors.ErrUnsupported if the report is in a form other than TEXT, which may
// well be valid.
type LoadReportError struct {
	// Member is the name of the member at fault, shortened, or "" if the
	// fault is in the whole. It comes from outside.
	Member string
	// Fault describes what is wrong. It holds nothing from outside.
	Fault string
	err   error
}

// Error implements error.
func (e *LoadReportError) Error() string {
	if e.Member == "" {
		return "load report: " + e.Fault
	}
	return "load report: " + strconv.Quote(e.Member) + ": " + e.Fault
}

// Unwrap returns errors.ErrUnsupported or nil.
func (e *LoadReportError) Unwrap() error { return e.err }

func memberFault(name, fault string) error {
	return &LoadReportError{Member: strings.Clone(name[:min(len(name), 64)]), Fault: fault}
}

// ParseLoadReport reads the value of a LoadReportHeader. It knows the TEXT
// form only, of at most 4 KiB, and is strict about it: members are name=number
// or, as Envoy reads them too, name:number; none may come twice; a number is
// decimal, finite and in the range that LoadReport gives for it. Members of
// names that ORCA has not defined must have the same form and are then
// ignored, so that ORCA can grow. Any fault refuses the whole report, with a
// *LoadReportError.
//
// It allocates only for Named and for errors, and keeps nothing of value.
func ParseLoadReport(value string) (LoadReport, error) {
	if len(value) > maxReport {
		return LoadReport{}, &LoadReportError{Fault: "longer than 4 KiB"}
	}
	rest, ok := strings.CutPrefix(value, textPrefix)
	if !ok {
		e := &LoadReportError{Fault: "has no known form"}
		if strings.HasPrefix(value, "BIN ") || strings.HasPrefix(value, "JSON ") {
			e.Fault, e.err = "is not in TEXT form", errors.ErrUnsupported
		}
		return LoadReport{}, e
	}
	var r LoadReport
	var seen uint16
	for more := true; more; {
		var text string
		text, rest, more = strings.Cut(rest, ",")
		if err := r.parseMember(strings.Trim(text, " \t"), &seen); err != nil {
			return LoadReport{}, err
		}
	}
	return r, nil
}

// parseMember takes over one member. A bit of seen stands for each of members.
func (r *LoadReport) parseMember(text string, seen *uint16) error {
	at := strings.IndexAny(text, "=:")
	if at < 0 {
		return memberFault(text, "is not name=number")
	}
	name := strings.TrimRight(text[:at], " \t")
	if !validName(name) {
		return memberFault(name, "is no name")
	}
	v, ok := parseNumber(strings.TrimLeft(text[at+1:], " \t"))
	if !ok {
		return memberFault(name, "has no finite decimal number")
	}
	if i := member(name); i >= 0 {
		switch bit := uint16(1) << i; {
		case *seen&bit != 0:
			return memberFault(name, "comes twice")
		case !within(v, 0, members[i].high):
			return memberFault(name, "is out of range")
		default:
			*seen |= bit
			r.set(i, v)
			return nil
		}
	}
	switch low, high, kept := limits(name); {
	case !kept:
		return nil
	case !within(v, low, high):
		return memberFault(name, "is out of range")
	case named(r.Named, name):
		return memberFault(name, "comes twice")
	case len(r.Named) == maxNamed:
		return &LoadReportError{Fault: "more than 32 named figures"}
	}
	r.Named = append(r.Named, Metric{Name: strings.Clone(name), Value: v})
	return nil
}

// parseNumber reads a decimal number. strconv knows forms that no other ORCA
// reader does, such as hexadecimal and "infinity".
func parseNumber(s string) (v float64, ok bool) {
	if s == "" || len(s) > maxNumber {
		return 0, false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	// Adding zero makes of minus zero, which is not less than zero, zero.
	return v + 0, err == nil
}
