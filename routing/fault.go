package routing

import (
	"errors"
	"fmt"
)

// faults collects what is wrong with a configuration.
type faults []error

// add notes a fault at path.
func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

// under notes every fault joined in err, with lead in front of it.
func (f *faults) under(lead string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			f.under(lead, err)
		}
	} else if err != nil {
		*f = append(*f, fmt.Errorf("%s%w", lead, err))
	}
}

// err returns all faults as one error, nil if there are none.
func (f faults) err() error { return errors.Join(f...) }
