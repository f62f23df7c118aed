// Package kernel is what the tests of TestExec run in a guest.
package kernel

// Half is here to be covered.
func Half(n int) int {
	if n%2 != 0 {
		return -1
	}
	return n / 2
}
