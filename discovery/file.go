package discovery

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

const fileInterval = time.Second

// File is a Resolver of a set that stands in a file, as a JSON list such as
//
//	[
//		{"addr": "10.0.0.1:8080", "weight": 2, "zone": "b", "labels": {"version": "v2"}},
//		{"addr": "10.0.0.2:8080", "priority": 1, "region": "eu", "notReady": true},
//		{"addr": "unix:/run/reviews.sock"}
//	]
//
// The members are the fields of [endpoint.Info]; addr is required. The empty
// list is the empty set. A member of another name or of a wrong type, one
// that comes twice, an address that comes twice, and more than 1 MiB are
// faults, and all of them are told at once, each with its path.
//
// The file is read again and again, and taken for changed if its content
// is: times of files can go back, and stay the same through two changes. It
// may be written in place, since a list that is not whole is a fault, but is
// better replaced by renaming another; a symbolic link is followed anew each
// time. While the file is missing, cannot be read or has faults, the set
// stays what it was and an error says why, once for each reason; a file that
// is missing from the start is an error too, not an empty set.
type File struct {
	// Path is where the file is. It is required.
	Path string
	// Interval is the time between two readings, give or take a fifth. Zero
	// means 1 second.
	Interval time.Duration
}

// Validate reports every fault of the configuration. It reads nothing.
func (f File) Validate() error {
	return errors.Join(required("path", f.Path), interval("interval", f.Interval))
}

func required(name, value string) error {
	if value == "" {
		return fmt.Errorf("%s: is required", name)
	}
	return nil
}

// Watch implements Resolver.
func (f File) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		var last []byte
		var infos []endpoint.Info
		var fault error
		poll{interval: cmp.Or(f.Interval, fileInterval), steady: true, look: func(context.Context) ([]endpoint.Info, error) {
			doc, err := readFile(f.Path)
			if err != nil {
				return nil, err
			}
			if last == nil || !bytes.Equal(doc, last) {
				last = doc
				if infos, fault = parse(doc); fault != nil {
					fault = fmt.Errorf("%s: %w", f.Path, fault)
				}
			}
			return infos, fault
		}}.run(ctx, yield)
	}
}
