package theme

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The glyphs that the screens use. With --ascii each becomes another of the same width, so the layout stays.
var ascii = map[rune]byte{
	'✓': '+', '✗': 'x', '●': '*', '○': 'o', '◌': 'o', '·': '.', '…': '~', '›': '>', '▸': '>', '▾': 'v',
	'─': '-', '│': '|', '┌': '+', '┐': '+', '└': '+', '┘': '+', '├': '+', '┤': '+', '┬': '+', '┴': '+', '┼': '+',
	'╌': '.', '▶': '>', '◀': '<', '→': '>', '←': '<', '↑': '^', '↓': 'v', '↕': '|', '×': 'x', '—': '-', '–': '-',
	'‖': '=', '−': '-', '≠': '!', '≤': '<', '≥': '>', 'µ': 'u',
	'▁': '_', '▂': '.', '▃': '-', '▄': '=', '▅': '+', '▆': '*', '▇': '%', '█': '#',
}

// toASCII replaces every rune that a terminal without Unicode cannot show. Letters of other alphabets, which only
// foreign names have, become question marks of the same width.
func toASCII(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		cluster, width := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		s = s[len(cluster):]
		r := []rune(cluster)
		switch c, known := ascii[r[0]]; {
		case len(r) == 1 && r[0] < 0x7f:
			b.WriteByte(byte(r[0]))
		case known:
			b.WriteByte(c)
		default:
			b.WriteString(strings.Repeat("?", width))
		}
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x7f {
			return false
		}
	}
	return true
}
