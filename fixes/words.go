package fixes

import (
	"fmt"
	"net/netip"
	"strings"
)

// shellWord quotes s for a POSIX shell where that is needed. The kernel lets interface names hold nearly anything, and what
// is shown here gets pasted into a root shell.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+,=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// validDevice follows dev_valid_name (net/core/dev.c).
func validDevice(name string) error {
	bad := func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == 0x7f }
	if name == "" || len(name) > 15 || name == "." || name == ".." || strings.IndexFunc(name, bad) >= 0 {
		return fmt.Errorf("%q is no interface name", name)
	}
	return nil
}

func validPrefix(p netip.Prefix) error {
	if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
		return fmt.Errorf("%q is no address with a prefix length", p)
	}
	return nil
}
