package capture

import (
	"testing"
	"unsafe"
)

// What a packet touches is laid out by lines of the processor's cache; a field in the wrong place costs a fetch from memory for each.
func TestRecordIsLaidOutByLines(t *testing.T) {
	const line = 64
	var r record
	if n := unsafe.Sizeof(lane{}); n != line {
		t.Errorf("a lane is %d bytes long, want %d", n, line)
	}
	if n := unsafe.Offsetof(r.isn); n != line {
		t.Errorf("the second line begins at %d", n)
	}
	if n := unsafe.Offsetof(r.lanes); n != 2*line {
		t.Errorf("the lanes begin at %d, want %d", n, 2*line)
	}
	if n := unsafe.Sizeof(r); n%line != 0 {
		t.Errorf("a record is %d bytes long, no whole lines", n)
	}
}
