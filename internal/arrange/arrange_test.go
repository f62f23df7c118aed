package arrange

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// By is slices.SortStableFunc, for any input.
func TestBy(t *testing.T) {
	type row struct{ key, place int }
	byKey := func(a, b row) int { return cmp.Compare(a.key, b.key) }
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		rows := make([]row, n)
		for i := range rows {
			rows[i] = row{random.IntN(n/3 + 1), i}
		}
		want := slices.Clone(rows)
		slices.SortStableFunc(want, byKey)
		By(rows, byKey)
		if !slices.Equal(rows, want) {
			t.Fatalf("%d elements: %v, want %v", n, rows, want)
		}
	}
}
