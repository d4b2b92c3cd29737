package match

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

// err returns all faults as one error, nil if there are none.
func (f faults) err() error { return errors.Join(f...) }
