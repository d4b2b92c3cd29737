package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/endpoint"
)

const (
	// maxDocument is how large a document may be: some ten thousand
	// endpoints, and nothing that fills the memory.
	maxDocument = 1 << 20
	// maxFaults is how many faults of a document are told one by one.
	maxFaults = 20
)

var errTooLarge = fmt.Errorf("is larger than %d bytes", maxDocument)

// entry is one endpoint in a document.
type entry struct {
	Addr     string            `json:"addr"`
	Weight   uint32            `json:"weight,omitempty"`
	Priority uint32            `json:"priority,omitempty"`
	Region   string            `json:"region,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	NotReady bool              `json:"notReady,omitempty"`
}

// encode returns the document of infos.
func encode(infos []endpoint.Info) ([]byte, error) {
	entries := make([]entry, len(infos))
	for i, info := range infos {
		entries[i] = entry(info)
	}
	doc, err := json.MarshalIndent(entries, "", "\t")
	if err == nil && len(doc) >= maxDocument {
		err = fmt.Errorf("the set of %d endpoints %w", len(infos), errTooLarge)
	}
	return append(doc, '\n'), err
}

// parse returns the set that a document lists, in the order of addresses.
// Anything that it does not understand is a fault, since whoever wrote it
// meant something by it.
func parse(doc []byte) ([]endpoint.Info, error) {
	switch {
	case len(doc) > maxDocument:
		return nil, errTooLarge
	case !utf8.Valid(doc):
		return nil, errors.New("is not UTF-8")
	case !bytes.HasPrefix(bytes.TrimLeft(doc, " \t\r\n"), []byte("[")):
		return nil, errors.New("is not a JSON list")
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(doc, &elements); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			err = fmt.Errorf("%w, at byte %d", err, e.Offset)
		}
		return nil, err
	}
	p := &parser{}
	infos := make([]endpoint.Info, len(elements))
	illegible := make(map[int]bool)
	for i, element := range elements {
		infos[i], illegible[i] = p.info(fmt.Sprintf("endpoints[%d]", i), element)
	}
	p.faults = append(p.faults, faults(validate(infos, illegible))...)
	if len(p.faults) > 0 {
		return nil, p.err()
	}
	return inOrder(infos), nil
}

// parser collects the faults of a document.
type parser struct{ faults []error }

func (p *parser) err() error {
	if more := len(p.faults) - maxFaults; more > 0 {
		p.faults = append(p.faults[:maxFaults:maxFaults], fmt.Errorf("and %d more faults", more))
	}
	return errors.Join(p.faults...)
}

func (p *parser) faultf(format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf(format, args...))
}

// info decodes one endpoint. It is illegible if it is no object or its address
// no text, which says all about the address that there is to say.
func (p *parser) info(path string, element json.RawMessage) (info endpoint.Info, illegible bool) {
	object := p.members(path, element, func(path, name string, value json.RawMessage) {
		const text, number = "a text", "a whole number from 0 to 4294967295"
		switch name {
		case "addr":
			illegible = !p.value(path, value, text, &info.Addr)
		case "weight":
			p.value(path, value, number, &info.Weight)
		case "priority":
			p.value(path, value, number, &info.Priority)
		case "region":
			p.value(path, value, text, &info.Region)
		case "zone":
			p.value(path, value, text, &info.Zone)
		case "labels":
			info.Labels = map[string]string{}
			p.members(path, value, func(path, name string, value json.RawMessage) {
				var label string
				p.value(path, value, text, &label)
				info.Labels[name] = label
			})
		case "notReady":
			p.value(path, value, "true or false", &info.NotReady)
		default:
			p.faultf("%s: is no field of an endpoint", path)
		}
	})
	return info, illegible || !object
}

// value decodes one value. A null would be taken for nothing said.
func (p *parser) value(path string, value json.RawMessage, want string, into any) bool {
	if string(value) == "null" || json.Unmarshal(value, into) != nil {
		p.faultf("%s: %s is not %s", path, brief(value), want)
		return false
	}
	return true
}

// members calls f for each member of an object. The names count as they are
// written, and each may come once; encoding/json by itself is laxer. It
// returns false if there is no object.
func (p *parser) members(path string, object json.RawMessage, f func(path, name string, value json.RawMessage)) bool {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		p.faultf("%s: %s is not an object", path, brief(object))
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		at := path + "." + brief([]byte(name))
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			p.faultf("%s: %w", at, err)
			return true
		}
		if seen[name] {
			p.faultf("%s: comes twice", at)
			continue
		}
		seen[name] = true
		f(at, name, value)
	}
	return true
}

// brief returns what can be quoted of a text in an error: its beginning, on
// one line.
func brief(text []byte) string {
	const most = 60
	more := ""
	if len(text) > most {
		text, more = bytes.ToValidUTF8(text[:most], nil), "…"
	}
	return string(bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)) + more
}

// readDocument reads a document, and no more than fits one.
func readDocument(r io.Reader) ([]byte, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(doc) > maxDocument {
		err = errTooLarge
	}
	return doc, err
}

// readFile reads the document in a file.
func readFile(path string) ([]byte, error) {
	// To open a pipe or a device could wait for ever.
	if stat, err := os.Stat(path); err != nil {
		return nil, err
	} else if !stat.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	doc, err := readDocument(f)
	if errors.Is(err, errTooLarge) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return doc, err
}
