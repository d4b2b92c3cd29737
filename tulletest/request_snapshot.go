package tulletest

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
)

// snapshot is a request as it was, deeply enough to notice any change.
type snapshot struct {
	shallow  http.Request
	url      *url.URL
	header   http.Header
	trailer  http.Header
	encoding []string
}

func newSnapshot(r *http.Request) *snapshot {
	s := &snapshot{
		header:   r.Header.Clone(),
		trailer:  r.Trailer.Clone(),
		encoding: slices.Clone(r.TransferEncoding),
	}
	if r.URL != nil {
		u := *r.URL
		s.url = &u
	}
	// Copied field by field: a Request must not be copied whole.
	was, is := reflect.ValueOf(&s.shallow).Elem(), reflect.ValueOf(r).Elem()
	for i := range is.NumField() {
		if is.Type().Field(i).IsExported() {
			was.Field(i).Set(is.Field(i))
		}
	}
	return s
}

// changes lists what differs in r from the snapshot taken of it: values, and
// the identity of its maps, URL, body, functions and channels.
func (s *snapshot) changes(r *http.Request) []string {
	var found []string
	note := func(field string, was, is any) {
		found = append(found, fmt.Sprintf("%s was %v, is %v", field, was, is))
	}
	was, is := reflect.ValueOf(&s.shallow).Elem(), reflect.ValueOf(r).Elem()
	for i := range is.NumField() {
		field := is.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		a, b := was.Field(i), is.Field(i)
		same := false
		switch field.Type.Kind() {
		case reflect.Map, reflect.Slice, reflect.Pointer, reflect.Func, reflect.Chan:
			same = a.Pointer() == b.Pointer()
		default:
			same = a.Interface() == b.Interface()
		}
		if !same {
			note(field.Name, a, b)
		}
	}
	if !reflect.DeepEqual(s.header, r.Header) {
		note("Header", s.header, r.Header)
	}
	if !reflect.DeepEqual(s.trailer, r.Trailer) {
		note("Trailer", s.trailer, r.Trailer)
	}
	if !reflect.DeepEqual(s.url, r.URL) {
		note("URL", s.url, r.URL)
	}
	if !slices.Equal(s.encoding, r.TransferEncoding) {
		note("TransferEncoding", s.encoding, r.TransferEncoding)
	}
	return found
}
