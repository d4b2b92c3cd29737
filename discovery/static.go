package discovery

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/tulle-mesh/tulle/endpoint"
)

// Static is a Resolver of a set that never changes. Two are equal if they
// were made of the same endpoints in the same order. The zero value is the
// empty set.
type Static struct {
	// set is the JSON of the endpoints: a text, since a slice could not be
	// compared, nor kept from being changed by who made it.
	set string
}

// NewStatic returns a Static of the given endpoints. It copies them. Texts
// that are not UTF-8 are not kept as they are.
func NewStatic(infos ...endpoint.Info) Static {
	if len(infos) == 0 {
		return Static{}
	}
	set, err := json.Marshal(infos)
	if err != nil {
		// Strings, numbers and a map of strings always have a JSON form.
		panic("discovery: " + err.Error())
	}
	return Static{set: string(set)}
}

// Addrs returns a Static of endpoints that have nothing but an address,
// "host:port" or "unix:" and a path.
func Addrs(addrs ...string) Static {
	infos := make([]endpoint.Info, len(addrs))
	for i, addr := range addrs {
		infos[i].Addr = addr
	}
	return NewStatic(infos...)
}

// Watch implements Resolver.
func (s Static) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		if ctx.Err() != nil || !yield(s.infos(), nil) {
			return
		}
		<-ctx.Done()
	}
}

// Validate reports every fault of the endpoints, see [Validate].
func (s Static) Validate() error { return Validate(s.infos()) }

func (s Static) infos() []endpoint.Info {
	if s.set == "" {
		return nil
	}
	var infos []endpoint.Info
	if err := json.Unmarshal([]byte(s.set), &infos); err != nil {
		panic("discovery: " + err.Error())
	}
	return infos
}
