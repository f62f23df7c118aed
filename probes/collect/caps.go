package collect

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// parseCaps finds the effective capabilities that matter here in /proc/PID/status.
func parseCaps(status string) []string {
	caps := []string{}
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			continue
		}
		for _, c := range []struct {
			bit  uint
			name string
		}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}} {
			if bits&(1<<c.bit) != 0 {
				caps = append(caps, c.name)
			}
		}
	}
	return caps
}
