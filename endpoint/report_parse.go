package endpoint

import (
	"errors"
	"math/bits"
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
		if err := r.parseMember(trim(text), &seen); err != nil {
			return LoadReport{}, err
		}
	}
	return r, nil
}

// trim takes away the space around a part of a member.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// parseMember takes over one member, which is trimmed. A bit of seen stands for
// each of members.
func (r *LoadReport) parseMember(text string, seen *uint16) error {
	at := 0
	for at < len(text) && text[at] != '=' && text[at] != ':' {
		at++
	}
	if at == len(text) {
		return memberFault(text, "is not name=number")
	}
	name := trim(text[:at])
	// Members mostly come in the order in which they are written here.
	i := memberFrom(bits.Len16(*seen), name)
	if i < 0 && !validName(name) {
		return memberFault(name, "is no name")
	}
	v, ok := parseNumber(trim(text[at+1:]))
	if !ok {
		return memberFault(name, "has no finite decimal number")
	}
	if i >= 0 {
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

// maxExact is how many digits a number has at most that is surely exact in a
// float64, as are the powers of ten up to that.
const maxExact = 15

var powers = [maxExact + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// parseNumber reads a decimal number. Of short ones without sign and exponent,
// which is what reports are made of, it knows what strconv would say: the
// quotient of two exact numbers is rounded once.
func parseNumber(s string) (v float64, ok bool) {
	n, digits, point := 0, 0, -1
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9' && digits < maxExact:
			n = n*10 + int(c-'0')
			digits++
		case c == '.' && point < 0:
			point = digits
		default:
			return parseAny(s)
		}
	}
	switch {
	case digits == 0:
		return 0, false
	case point < 0:
		return float64(n), true
	}
	return float64(n) / powers[digits-point], true
}

// parseAny reads any decimal number. strconv knows forms that no other ORCA
// reader does, such as hexadecimal and "infinity".
func parseAny(s string) (v float64, ok bool) {
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
