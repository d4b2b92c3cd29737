package routing

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/tulle-mesh/tulle/internal/token"
)

// Field is a header field.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// HeaderEdit changes header fields. Names are compared without regard to case.
// The zero HeaderEdit changes nothing.
type HeaderEdit struct {
	// Set replaces all fields of a name by one, or adds it.
	Set []Field `json:"set,omitzero"`
	// Add adds fields after those there are, Set ones included.
	Add []Field `json:"add,omitzero"`
	// Remove removes all fields of a name. A name may not be set or added too.
	Remove []string `json:"remove,omitzero"`
}

// IsZero reports whether e changes nothing.
func (e HeaderEdit) IsZero() bool {
	return len(e.Set) == 0 && len(e.Add) == 0 && len(e.Remove) == 0
}

// Apply changes header, which the caller owns and is not nil. The slices in it
// may be shared with other headers: Apply replaces them and never writes to them,
// so a shallow copy of a header ([maps.Clone]) is enough. Names in canonical form,
// such as "X-User", cost no allocation to look up.
func (e HeaderEdit) Apply(header http.Header) {
	for _, f := range e.Set {
		header[http.CanonicalHeaderKey(f.Name)] = []string{f.Value}
	}
	for _, f := range e.Add {
		name := http.CanonicalHeaderKey(f.Name)
		header[name] = append(slices.Clip(header[name]), f.Value)
	}
	for _, name := range e.Remove {
		delete(header, http.CanonicalHeaderKey(name))
	}
}

// Validate reports every fault of e, each with its path. Names must be tokens,
// values must not contain control characters, and names that net/http governs or
// that concern one connection only are refused.
func (e HeaderEdit) Validate() error {
	var faults faults
	seen := make(map[string]string)
	for i, f := range e.Set {
		path := fmt.Sprintf("set[%d]", i)
		faults.field(path, f)
		name := http.CanonicalHeaderKey(f.Name)
		if other, ok := seen[name]; ok {
			faults.add(path+".name", "%q is in %s already", f.Name, other)
		}
		seen[name] = path
	}
	for i, f := range e.Add {
		path := fmt.Sprintf("add[%d]", i)
		faults.field(path, f)
		if name := http.CanonicalHeaderKey(f.Name); seen[name] == "" {
			seen[name] = path
		}
	}
	for i, name := range e.Remove {
		path := fmt.Sprintf("remove[%d]", i)
		faults.fieldName(path, name)
		name := http.CanonicalHeaderKey(name)
		if other, ok := seen[name]; ok {
			faults.add(path, "%q is in %s already", name, other)
		}
		seen[name] = path
	}
	return faults.err()
}

func (f *faults) field(path string, field Field) {
	f.fieldName(path+".name", field.Name)
	f.fieldValue(path+".value", field.Value)
}

func (f *faults) fieldValue(path, value string) {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			f.add(path, "control character %q", c)
			return
		}
	}
}

// fieldName refuses what is no name, and names that an edit would break the
// framing or routing of a message with. RFC 9110 section 7.6.1 lists those that
// concern a connection; Proxy-Connection and Keep-Alive are older usage.
func (f *faults) fieldName(path, name string) {
	switch http.CanonicalHeaderKey(name) {
	case "Host":
		f.add(path, "Host is not an ordinary field; use rewrite.host")
	case "Content-Length", "Transfer-Encoding", "Trailer":
		f.add(path, "%q says how a message is framed and cannot be edited", name)
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization":
		f.add(path, "%q concerns one connection only and cannot be edited", name)
	default:
		if !token.Is(name) {
			f.add(path, "%q is not the name of a header field", name)
		}
	}
}
