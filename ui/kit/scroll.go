package kit

import "fmt"

// Window is which part of a list of n rows is shown in height lines so that the cursor is in view, keeping offset where
// it was when that is possible.
func Window(n, cursor, offset, height int) (from, to int) {
	if height <= 0 || n == 0 {
		return 0, 0
	}
	if cursor < offset {
		offset = cursor
	}
	if cursor >= offset+height {
		offset = cursor - height + 1
	}
	offset = max(0, min(offset, n-height))
	return offset, min(n, offset+height)
}

// Count writes a big number so that it can be read at a glance: 950, 12.3k, 4.56M.
func Count(n float64) string {
	switch {
	case n < 0:
		return "?"
	case n < 1000:
		return fmt.Sprintf("%.3g", n)
	case n < 1e6:
		return fmt.Sprintf("%.3gk", n/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.3gM", n/1e6)
	}
	return fmt.Sprintf("%.3gG", n/1e9)
}
