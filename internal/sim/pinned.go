package sim

import (
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Pinned is one connection for each caller, kept alive, to a virtual address
// behind which it has got to a server by chance: what a caller has without a
// mesh. It connects anew when the connection breaks, or when its server is
// taken out; a call that takes too long breaks nothing, as over HTTP/2.
type Pinned struct{}

// New implements Chooser.
func (Pinned) New(c *Caller) Picker { return &pinned{c, -1} }

type pinned struct {
	caller *Caller
	server int
}

// Pick implements Picker.
func (p *pinned) Pick(time.Time, uint64) int {
	if usable := p.caller.usable; p.server < 0 && len(usable) > 0 {
		p.server = usable[p.caller.rnd.IntN(len(usable))]
	}
	return p.server
}

// Observe implements Observer.
func (p *pinned) Observe(server int, r outcome.Result) {
	if server == p.server && (r.Class == outcome.Connect || r.Class == outcome.Reset) {
		p.server = -1
	}
}

// Update implements Updater.
func (p *pinned) Update() {
	if !slices.Contains(p.caller.usable, p.server) {
		p.server = -1
	}
}
