package collect

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// Only what changes the byte that routing looks at counts as a change of DSCP: nft writes two bytes, the first of them as it was.
func TestSetDSCP(t *testing.T) {
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for _, tt := range []struct {
		what               string
		base, offset, size uint32
		want               string
	}{
		{"ip dscp set, as nft 1.0 writes it", unix.NFT_PAYLOAD_NETWORK_HEADER, 0, 2, "tos"},
		{"the byte alone", unix.NFT_PAYLOAD_NETWORK_HEADER, 1, 1, "tos"},
		{"ip ttl set", unix.NFT_PAYLOAD_NETWORK_HEADER, 8, 2, ""},
		{"ip daddr set", unix.NFT_PAYLOAD_NETWORK_HEADER, 16, 4, ""},
		{"tcp sport set", unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, ""},
	} {
		tr := translator{family: "ip"}
		tr.expression("payload", map[uint16][]byte{unix.NFTA_PAYLOAD_SREG: number(unix.NFT_REG_1), unix.NFTA_PAYLOAD_BASE: number(tt.base),
			unix.NFTA_PAYLOAD_OFFSET: number(tt.offset), unix.NFTA_PAYLOAD_LEN: number(tt.size)})
		if tr.out.Verdict != tt.want {
			t.Errorf("%s: verdict %q, want %q", tt.what, tr.out.Verdict, tt.want)
		}
	}
	for name, want := range map[string]string{"DSCP": "tos", "TOS": "tos", "TTL": ""} {
		if verdict, _, _ := xtTarget(name, 0, nil); verdict != want {
			t.Errorf("-j %s: verdict %q, want %q", name, verdict, want)
		}
	}
}
