package benchmarks

import (
	"net/http"
	"testing"
)

// BenchmarkOverhead is what each stack adds to a transport that answers at
// once. The row to quote is get: a request whose context ends with it, as in
// the handler of a server.
func BenchmarkOverhead(b *testing.B) {
	for _, c := range []struct {
		name string
		call func(*caller) error
	}{
		{"get", (*caller).get},
		{"shared", (*caller).shared},
		{"post", (*caller).post},
	} {
		b.Run("case="+c.name, func(b *testing.B) {
			for _, s := range stacks() {
				b.Run("stack="+s.name, func(b *testing.B) {
					f := nullFleet()
					serial(b, newCaller(b, s.wrap(b, f), s.hosts(f)), c.call)
				})
			}
		})
	}
	b.Run("case=parallel", func(b *testing.B) {
		for _, s := range stacks() {
			b.Run("stack="+s.name, func(b *testing.B) {
				f := nullFleet()
				parallel(b, s.wrap(b, f), s.hosts(f), (*caller).get)
			})
		}
	})
}

func serial(b *testing.B, c *caller, call func(*caller) error) {
	if err := call(c); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := call(c); err != nil {
			b.Fatal(err)
		}
	}
}

func parallel(b *testing.B, rt http.RoundTripper, hosts []string, call func(*caller) error) {
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := newCaller(b, rt, hosts)
		for pb.Next() {
			if err := call(c); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
