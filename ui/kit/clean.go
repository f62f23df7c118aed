package kit

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean takes out of a text everything that could move the cursor, change the terminal or disguise what is written:
// control characters (C0 with ESC and newline, DEL, C1), bidirectional and other invisible format characters, and bytes
// that are not UTF-8. Each becomes one visible character, so that a name made to deceive looks odd and not like another.
func Clean(s string) string {
	if !dirty(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if hostile(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func dirty(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return hasHostile(s)
		}
	}
	return false
}

func hasHostile(s string) bool {
	if !utf8.ValidString(s) {
		return true
	}
	return strings.ContainsFunc(s, hostile)
}

// hostile: category C is control, format (bidi, zero width, BOM, tags), surrogate and private use; Zl and Zp break
// lines; combining marks could pile up over their neighbours.
func hostile(r rune) bool {
	if narrow(r) {
		return false
	}
	return r == utf8.RuneError || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.M) || !unicode.IsPrint(r) && r != ' '
}
