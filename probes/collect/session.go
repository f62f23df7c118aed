package collect

import (
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// ancestorLimit bounds the search for the session among the parents of this process.
const ancestorLimit = 16

// readSession finds the SSH session lvstui was started from, and the interface it comes in on. A session whose own
// address is not in this namespace cannot be cut from here, and is left out.
func (c *collector) readSession() {
	text := c.sshConnection()
	if text == "" {
		return
	}
	session, ok := parseSession(text)
	if !ok || !c.own(session.Server.Addr()) {
		return
	}
	nl, err := dialNetlink(unix.NETLINK_ROUTE, c.deadline)
	if err == nil {
		defer nl.Close()
		// The way back to the operator is the way that must not be cut.
		session.Interface = askRoute(nl, lvs.RouteQuery{Dst: session.Client.Addr(), Src: session.Server.Addr()}, 0, c.device).Device
	}
	if session.Interface == "" {
		for _, a := range c.s.Addresses {
			if a.Prefix.Addr() == session.Server.Addr() {
				session.Interface = a.Device
			}
		}
	}
	c.s.Operator = &session
}

// sshConnection is SSH_CONNECTION of this process or, because sudo takes it away, of one of its parents.
func (c *collector) sshConnection() string {
	for _, v := range c.opt.Environ {
		if value, ok := strings.CutPrefix(v, "SSH_CONNECTION="); ok {
			return value
		}
	}
	pid := os.Getppid()
	for range ancestorLimit {
		if pid <= 1 {
			return ""
		}
		env, err := c.proc.read(strconv.Itoa(pid) + "/environ")
		if err != nil {
			return ""
		}
		for v := range strings.SplitSeq(env, "\x00") {
			if value, ok := strings.CutPrefix(v, "SSH_CONNECTION="); ok {
				return value
			}
		}
		stat, err := c.proc.read(strconv.Itoa(pid) + "/stat")
		if err != nil {
			return ""
		}
		pid = parentOf(stat)
	}
	return ""
}

// parentOf reads the parent from /proc/PID/stat: "12 (name) S 1 …", where the name may hold anything.
func parentOf(stat string) int {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0
	}
	f := strings.Fields(stat[i+1:])
	pid, _ := strconv.Atoi(at(f, 1))
	return pid
}

// parseSession reads "192.0.2.9 50022 192.0.2.2 22".
func parseSession(text string) (lvs.Session, bool) {
	f := strings.Fields(text)
	if len(f) != 4 {
		return lvs.Session{}, false
	}
	client, ok1 := parseEnd(f[0], f[1])
	server, ok2 := parseEnd(f[2], f[3])
	return lvs.Session{Client: client, Server: server}, ok1 && ok2
}

func parseEnd(addr, port string) (netip.AddrPort, bool) {
	ip, err1 := netip.ParseAddr(addr)
	p, err2 := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(ip.Unmap().WithZone(""), uint16(p)), err1 == nil && err2 == nil
}
