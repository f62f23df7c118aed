package kit

import "github.com/charmbracelet/x/ansi"

// cells is the number of cells a clean text takes. Most of what is drawn is ASCII, Latin and box drawing, of one cell each;
// only for the rest the tables of Unicode are asked, which takes fifty times as long.
func cells(s string) int {
	n := 0
	for _, r := range s {
		if !narrow(r) {
			return ansi.StringWidth(s)
		}
		n++
	}
	return n
}

// narrow: one cell in every terminal, and no part of a longer grapheme.
func narrow(r rune) bool {
	switch {
	case r >= 0x20 && r < 0x7f, r >= 0xa1 && r < 0x300 && r != 0xad:
		return true
	case r >= 0x2190 && r <= 0x2193, r >= 0x2500 && r <= 0x2588: // arrows, box drawing, blocks
		return true
	}
	return r == '…' || r == '›' || r == '✓' || r == '✗' || r == '●' || r == '○' || r == '▶' || r == '◀' || r == '▸'
}
