package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"lvstui/capture"
)

// BenchmarkRead reads files of growing size, honest and hostile: what it takes for each byte must not grow with them.
func BenchmarkRead(b *testing.B) {
	honest := string(load(b, "client-e-v.txt"))
	for name, build := range map[string]func(n int) []byte{
		"text":            func(n int) []byte { return []byte(strings.Repeat(honest, n/len(honest)+1)) },
		"text/one-line":   func(n int) []byte { return []byte("10:00:00.000000 " + strings.Repeat("a", n)) },
		"text/one-record": func(n int) []byte { return []byte("10:00:00.000000 IP a > b: \n" + strings.Repeat("  more\n", n/7)) },
		"text/parentheses": func(n int) []byte {
			return []byte(strings.Repeat("10:00:00.000000 IP "+strings.Repeat("(", 4000)+"\n", n/4020+1))
		},
		"text/no-packet-at-all": func(n int) []byte { return []byte(strings.Repeat("nothing here\n", n/13)) },
		"pcapng": func(n int) []byte {
			one := ngFile(b)
			return bytes.Repeat(one, n/len(one)+1)
		},
		"pcapng/interfaces": func(n int) []byte {
			g := &ngBuilder{order: littleEndian}
			g.section()
			for i := 0; g.Len() < n; i++ {
				g.device(capture.LinkEthernet, fmt.Sprintf("eth%d", i), 9, 0)
			}
			return g.Bytes()
		},
	} {
		for _, size := range []int{100 << 10, 1 << 20, 10 << 20} {
			data := build(size)
			b.Run(fmt.Sprintf("%s/%dK", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					s, err := Open(bytes.NewReader(data))
					if err != nil {
						continue
					}
					var p capture.Packet
					for err == nil {
						err = s.Next(&p)
					}
					if errors.Is(err, io.ErrNoProgress) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
