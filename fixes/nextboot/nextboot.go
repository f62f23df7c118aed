// Package nextboot is the pure half of what survives a reboot: it parses the configuration files of a Snapshot, says what
// they would give, and edits them with the smallest change. Nothing here reads or writes a file.
package nextboot

import (
	"lvstui/fixes"
	"lvstui/lvs"
)

// Edits returns the configuration files to write so that the next boot of s gives what p gives now, and words for what no
// file of ours can hold because somebody else owns it.
func Edits(p fixes.Plan, s *lvs.Snapshot) (edits []fixes.FileEdit, words []string) {
	return nil, fixes.NextBoot(p, s)
}
