// Package arrange sorts slices of large elements.
package arrange

import "slices"

// By sorts s by compare and keeps elements that are equal in their order. The sorts of package slices are compiled anew for each type of element,
// some 15 KB every time, and move elements about; here one sort of indices serves all types, and each element moves once.
func By[E any](s []E, compare func(a, b E) int) {
	if slices.IsSortedFunc(s, compare) {
		return
	}
	at := make([]int, len(s))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(i, j int) int { return compare(s[i], s[j]) })
	sorted := make([]E, len(s))
	for to, from := range at {
		sorted[to] = s[from]
	}
	copy(s, sorted)
}
