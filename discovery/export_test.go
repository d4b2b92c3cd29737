package discovery

import (
	"github.com/tulle-mesh/tulle/endpoint"
)

// Lookup is what DNS asks of net.Resolver.
type Lookup = lookup

// WithLookup returns d with a stand-in for its Resolver.
func (d DNS) WithLookup(l Lookup) DNS {
	d.lookup = l
	return d
}

// Parse and Encode are the two directions of a document.
func Parse(doc []byte) ([]endpoint.Info, error)    { return parse(doc) }
func Encode(infos []endpoint.Info) ([]byte, error) { return encode(infos) }
