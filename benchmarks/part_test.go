package benchmarks

import (
	"runtime"
	"sync"
	"testing"
)

// part is one row of a benchmark of a part: something that is asked for each
// call, by itself.
type part struct {
	// sort is what the part is compared within; a sort of its own is compared
	// with nothing.
	sort, name string
	// start makes the part, for n endpoints or rules where that matters.
	start func(tb testing.TB, n int) asked
}

// asked returns what one goroutine does over and over with a part that all
// goroutines share.
type asked func() turn

// turn asks once, the i-th time. It returns what was chosen, where there is a
// choice.
type turn func(i int) (chosen string, err error)

// alone is a part that has nothing to keep for a goroutine.
func alone(t turn) asked { return func() turn { return t } }

// partCase is one column.
type partCase struct {
	name string
	n    int
	// goroutines is how many there are for each CPU; 0 is one in all.
	goroutines int
}

// benchmarkParts measures each part in each case. A part is made once, when it
// is first measured, since some take long to make.
func benchmarkParts(b *testing.B, parts []part, cases ...partCase) {
	type key struct{ part, n int }
	made := map[key]func() asked{}
	for _, c := range cases {
		for i, p := range parts {
			once, ok := made[key{i, c.n}]
			if !ok {
				once = sync.OnceValue(func() asked { return p.start(b, c.n) })
				made[key{i, c.n}] = once
			}
			name := "case=" + c.name + "/part=" + p.name
			if p.sort != "" {
				name = "case=" + c.name + "/sort=" + p.sort + "/part=" + p.name
			}
			b.Run(name, func(b *testing.B) {
				ask := once()
				b.ReportAllocs()
				if c.goroutines == 0 {
					t := ask()
					for i := 0; b.Loop(); i++ {
						if _, err := t(i); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.SetParallelism(c.goroutines)
				turns := make(chan turn, c.goroutines*runtime.GOMAXPROCS(0))
				for range cap(turns) {
					turns <- ask()
				}
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i, t := 0, <-turns; pb.Next(); i++ {
						if _, err := t(i); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
