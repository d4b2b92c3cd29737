package endpoint

import (
	"testing"
	"unsafe"
)

// What attempts write must never share a cache line with what picks read, of
// the same endpoint or of the next one in memory, wherever an object begins.
func TestEndpointLayout(t *testing.T) {
	var e Endpoint
	lastRead := unsafe.Offsetof(e.avail) + unsafe.Sizeof(e.avail) - 1
	firstWritten := unsafe.Offsetof(e.load)
	lastWritten := unsafe.Offsetof(e.failed) + unsafe.Sizeof(e.failed) - 1
	for name, off := range map[string]uintptr{
		"addr": unsafe.Offsetof(e.addr), "since": unsafe.Offsetof(e.since), "info": unsafe.Offsetof(e.info),
	} {
		if off > lastRead {
			t.Errorf("%s lies beyond what is read", name)
		}
	}
	for name, off := range map[string]uintptr{
		"inFlight": unsafe.Offsetof(e.inFlight), "started": unsafe.Offsetof(e.started), "ok": unsafe.Offsetof(e.ok),
	} {
		if off < firstWritten || off > lastWritten {
			t.Errorf("%s lies outside of what is written", name)
		}
	}
	// Two bytes that are a line or more apart are never on the same line.
	if d := firstWritten - lastRead; d < cacheLine {
		t.Errorf("%d bytes between what is read and what is written, want %d", d, cacheLine)
	}
	if d := unsafe.Sizeof(e) - lastWritten; d < cacheLine {
		t.Errorf("%d bytes between what is written and the next object, want %d", d, cacheLine)
	}
	if n := unsafe.Sizeof(Control{}); n > 256 {
		t.Errorf("an endpoint takes %d bytes", n)
	}
}
