package authn

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what is read from tokens and key sets. Their length is bounded by
// those who read them.
const maxDepth = 16

// decoder reads JSON as RFC 8259 and I-JSON (RFC 7493) have it and refuses
// what two readers could understand in two ways: names that come twice in an
// object, by what they mean and not by how they are written, texts that are
// not UTF-8, halves of surrogate pairs, and whatever follows the value.
//
// Strings without escapes share the memory of the text.
type decoder struct {
	text string
	at   int
	// size is about how much memory the values decoded take, in bytes.
	size int
}

var (
	errNotUTF8    = errors.New("it is not UTF-8")
	errTruncated  = errors.New("it ends too soon")
	errTrailing   = errors.New("something follows the value")
	errTooDeep    = errors.New("it is nested too deeply")
	errNotObject  = errors.New("it is not an object")
	errSurrogates = errors.New("half of a surrogate pair")
)

// decodeObject decodes a text that is one JSON object. Numbers are
// json.Number. It returns about how much memory the object takes.
func decodeObject(text string) (map[string]any, int, error) {
	if !utf8.ValidString(text) {
		return nil, 0, errNotUTF8
	}
	// Whatever is allocated is rounded up, by an eighth at most.
	d := decoder{text: text, size: len(text) + len(text)/8 + 64}
	d.space()
	if d.peek() != '{' {
		return nil, 0, errNotObject
	}
	object, err := d.object(maxDepth)
	if err != nil {
		return nil, 0, err
	}
	d.space()
	if d.at < len(text) {
		return nil, 0, errTrailing
	}
	return object, d.size, nil
}

// peek returns the next byte, 0 at the end: no value begins with that.
func (d *decoder) peek() byte {
	if d.at < len(d.text) {
		return d.text[d.at]
	}
	return 0
}

func (d *decoder) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

func (d *decoder) unexpected() error {
	if d.at >= len(d.text) {
		return errTruncated
	}
	return fmt.Errorf("unexpected %q at byte %d", d.text[d.at], d.at)
}

func (d *decoder) value(depth int) (any, error) {
	switch c := d.peek(); {
	case c == '"':
		d.size += 32
		return d.string()
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '-' || c >= '0' && c <= '9':
		d.size += 32
		return d.number()
	}
	for _, w := range [...]struct {
		text  string
		value any
	}{{"true", true}, {"false", false}, {"null", nil}} {
		if end := d.at + len(w.text); end <= len(d.text) && d.text[d.at:end] == w.text {
			d.at, d.size = end, d.size+16
			return w.value, nil
		}
	}
	return nil, d.unexpected()
}

func (d *decoder) object(depth int) (map[string]any, error) {
	if depth == 0 {
		return nil, errTooDeep
	}
	d.at++ // {
	object := map[string]any{}
	d.size += 64
	if d.space(); d.peek() == '}' {
		d.at++
		return object, nil
	}
	for {
		if d.space(); d.peek() != '"' {
			return nil, d.unexpected()
		}
		name, err := d.string()
		if err != nil {
			return nil, err
		}
		if _, ok := object[name]; ok {
			return nil, fmt.Errorf("two members are called %.40q", name)
		}
		if d.space(); d.peek() != ':' {
			return nil, d.unexpected()
		}
		d.at++
		d.space()
		if object[name], err = d.value(depth - 1); err != nil {
			return nil, err
		}
		// A map begins with eight places, and when it grows half are free.
		if len(object) == 1 {
			d.size += 288
		} else {
			d.size += 80
		}
		d.space()
		switch d.peek() {
		case ',':
			d.at++
		case '}':
			d.at++
			return object, nil
		default:
			return nil, d.unexpected()
		}
	}
}

func (d *decoder) array(depth int) ([]any, error) {
	if depth == 0 {
		return nil, errTooDeep
	}
	d.at++ // [
	array := []any{}
	d.size += 40
	if d.space(); d.peek() == ']' {
		d.at++
		return array, nil
	}
	for {
		d.space()
		v, err := d.value(depth - 1)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
		// What append sets aside included.
		d.size += 32
		d.space()
		switch d.peek() {
		case ',':
			d.at++
		case ']':
			d.at++
			return array, nil
		default:
			return nil, d.unexpected()
		}
	}
}

// number reads what RFC 8259 calls one, which is less than Go does.
func (d *decoder) number() (json.Number, error) {
	start := d.at
	if d.peek() == '-' {
		d.at++
	}
	if d.peek() == '0' {
		d.at++
	} else if err := d.digits(); err != nil {
		return "", err
	}
	if d.peek() == '.' {
		d.at++
		if err := d.digits(); err != nil {
			return "", err
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.at++
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		if err := d.digits(); err != nil {
			return "", err
		}
	}
	return json.Number(d.text[start:d.at]), nil
}

// digits reads one digit or more.
func (d *decoder) digits() error {
	start := d.at
	for d.at < len(d.text) && d.text[d.at] >= '0' && d.text[d.at] <= '9' {
		d.at++
	}
	if d.at == start {
		return d.unexpected()
	}
	return nil
}

func (d *decoder) string() (string, error) {
	d.at++ // "
	start := d.at
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '"':
			d.at++
			return d.text[start : d.at-1], nil
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", d.unexpected()
		}
	}
	return "", errTruncated
}

// escaped reads on from the first escape of the string that begins at start.
func (d *decoder) escaped(start int) (string, error) {
	out := []byte(d.text[start:d.at])
	for d.at < len(d.text) {
		c := d.text[d.at]
		switch {
		case c == '"':
			d.at++
			d.size += len(out) + len(out)/8 + 16
			return string(out), nil
		case c < ' ':
			return "", d.unexpected()
		case c != '\\':
			out = append(out, c)
			d.at++
			continue
		}
		d.at++
		c = d.peek()
		switch c {
		case '"', '\\', '/':
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, err := d.rune()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			continue
		default:
			return "", d.unexpected()
		}
		out = append(out, c)
		d.at++
	}
	return "", errTruncated
}

// rune reads from the u of an escape to the end of what it stands for.
func (d *decoder) rune() (rune, error) {
	r, err := d.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if d.peek() != '\\' {
		return 0, errSurrogates
	}
	if d.at++; d.peek() != 'u' {
		return 0, errSurrogates
	}
	low, err := d.hex()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, errSurrogates
	}
	return r, nil
}

// hex reads a u and four hexadecimal digits.
func (d *decoder) hex() (rune, error) {
	if d.at+5 > len(d.text) {
		return 0, errTruncated
	}
	n, err := strconv.ParseUint(d.text[d.at+1:d.at+5], 16, 16)
	if err != nil {
		d.at++
		return 0, d.unexpected()
	}
	d.at += 5
	return rune(n), nil
}
