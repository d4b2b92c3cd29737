package discovery

// Lookup is what DNS asks of net.Resolver.
type Lookup = lookup

// WithLookup returns d with a stand-in for its Resolver.
func (d DNS) WithLookup(l Lookup) DNS {
	d.lookup = l
	return d
}
