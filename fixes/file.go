package fixes

import (
	"fmt"
	"path"
	"strings"
)

// FileLimit is the most bytes of one configuration file that lvstui reads, edits or journals.
const FileLimit = 1 << 18

// FileEdit is one configuration file as it is and as it should be, so that the next boot gives what a plan gives now.
// Writing After undoes nothing but what it replaces: the undo of an edit is writing Before.
type FileEdit struct {
	// Path is absolute and clean, as the host names it.
	Path string `json:"path"`
	// Before is what the file held when the edit was computed; nil: it was not there. Who writes must refuse a file that
	// holds something else by then.
	Before *string `json:"before"`
	// After is what the file is to hold; nil: it is to be removed.
	After *string `json:"after"`
	// Mode is the permission bits for a file that is made; a file that exists keeps its own, and its owner.
	Mode uint32 `json:"mode"`
	// Why says in words what the edit gives: "the next boot sets net.ipv4.conf.all.arp_ignore = 1".
	Why string `json:"why"`
}

// Undo is the edit that takes e back.
func (e FileEdit) Undo() FileEdit {
	return FileEdit{Path: e.Path, Before: e.After, After: e.Before, Mode: e.Mode, Why: "undo: " + e.Why}
}

// Validate refuses an edit that cannot be one of lvstui's: it will be written as root.
func (e FileEdit) Validate() error {
	if !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || strings.ContainsAny(e.Path, "\x00\n") || len(e.Path) > 4096 {
		return fmt.Errorf("%q is no absolute path of a file", e.Path)
	}
	if e.Before == nil && e.After == nil {
		return fmt.Errorf("the edit of %s has neither what is there nor what should be", e.Path)
	}
	for _, text := range []*string{e.Before, e.After} {
		if text != nil && (len(*text) > FileLimit || strings.Contains(*text, "\x00")) {
			return fmt.Errorf("the edit of %s holds no text of at most %d bytes", e.Path, FileLimit)
		}
	}
	if e.Mode&^0o777 != 0 {
		return fmt.Errorf("the edit of %s has mode %o, more than permission bits", e.Path, e.Mode)
	}
	return nil
}
