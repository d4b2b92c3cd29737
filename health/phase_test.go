package health

import (
	"testing"
	"unsafe"
)

func TestPhaseLayout(t *testing.T) {
	var p phase
	if at := unsafe.Offsetof(p.ok); at != 64 {
		t.Errorf("what results write begins at %d", at)
	}
	if size := unsafe.Sizeof(p); size != 256 {
		t.Errorf("a phase takes %d bytes", size)
	}
	if size := unsafe.Sizeof(Record{}); size > 192 {
		t.Errorf("a record takes %d bytes", size)
	}
}
