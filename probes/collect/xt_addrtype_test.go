package collect

import (
	"encoding/binary"
	"slices"
	"testing"

	"lvstui/lvs"
)

// The bytes are those of `-m addrtype`, as libxt_addrtype writes them: source set, destination set, flags.
func TestXTAddrType(t *testing.T) {
	info := func(src, dst uint16, flags uint32) []byte {
		b := binary.NativeEndian.AppendUint16(nil, src)
		b = binary.NativeEndian.AppendUint16(b, dst)
		return binary.NativeEndian.AppendUint32(b, flags)
	}
	for _, tt := range []struct {
		name string
		info []byte
		want []lvs.Match
	}{
		{"--dst-type LOCAL", info(0, 1<<2, 0), []lvs.Match{{Field: "fib daddr type", Values: []string{"local"}}}},
		{"! --dst-type LOCAL", info(0, 1<<2, 2), []lvs.Match{{Field: "fib daddr type", Values: []string{"local"}, Negate: true}}},
		{"--src-type BROADCAST,MULTICAST", info(1<<3|1<<5, 0, 0), []lvs.Match{{Field: "fib saddr type", Values: []string{"broadcast", "multicast"}}}},
		{"--dst-type LOCAL --limit-iface-in", info(0, 1<<2, 4), []lvs.Match{{Field: "fib daddr type"}}},
	} {
		got, _ := xtMatch("addrtype", 1, tt.info)
		if !slices.EqualFunc(got, tt.want, func(a, b lvs.Match) bool {
			return a.Field == b.Field && a.Negate == b.Negate && slices.Equal(a.Values, b.Values)
		}) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if got, _ := xtMatch("addrtype", 1, []byte{1}); len(got) != 1 || got[0].Values != nil {
		t.Errorf("cut short: %+v", got)
	}
}
