package collect

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Socket states (include/net/tcp_states.h).
const (
	tcpClose  = 7
	tcpListen = 10
	// tcpTalking is every state in which there is a peer: all but CLOSE, LISTEN and SYN_SENT.
	tcpTalking = 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<8 | 1<<9 | 1<<11 | 1<<12

	socketLimit     = 4096
	socketReadLimit = 65536

	sizeDiagRequest = 56 // struct inet_diag_req_v2
	sizeDiagMessage = 72 // struct inet_diag_msg
	diagV6Only      = 11 // INET_DIAG_SKV6ONLY
	diagBytecode    = 1  // INET_DIAG_REQ_BYTECODE
	bytecodeJump    = 1  // INET_DIAG_BC_JMP
	bytecodeSource  = 7  // INET_DIAG_BC_S_COND
)

// socketEntry is a socket of any state.
type socketEntry struct {
	lvs.Socket
	peer  netip.AddrPort
	inode uint32
}

// readSockets reads what listens: over sock_diag where its modules are there, else from /proc/net.
func (c *collector) readSockets() {
	var out []socketEntry
	for _, protocol := range []lvs.Protocol{lvs.TCP, lvs.UDP} {
		some, err := c.listeners(protocol)
		if err != nil {
			c.gapError(lvs.SourceSockets, "listening sockets (ss -lnu, ss -lnt)", err)
			return
		}
		out = append(out, some...)
	}
	if len(out) > socketLimit {
		c.gap(lvs.SourceSockets, "kept %d of %d listening sockets", socketLimit, len(out))
		out = out[:socketLimit]
	}
	c.nameProcesses(out, processTime)
	c.s.Sockets = make([]lvs.Socket, 0, len(out))
	for _, e := range out {
		c.s.Sockets = append(c.s.Sockets, e.Socket)
	}
	arrange.By(c.s.Sockets, func(a, b lvs.Socket) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port), a.Address.Compare(b.Address), cmp.Compare(a.Device, b.Device),
			cmp.Compare(a.Process, b.Process), cmp.Compare(a.Queue, b.Queue))
	})
}

func (c *collector) listeners(protocol lvs.Protocol) ([]socketEntry, error) {
	states := uint32(1 << tcpListen)
	if protocol == lvs.UDP {
		states = 1 << tcpClose // bound and not connected
	}
	out, err := c.diag(protocol, states, nil)
	if !errors.Is(err, unix.ENOENT) {
		return out, err
	}
	var all []socketEntry
	for _, file := range []string{string(protocol), string(protocol) + "6"} {
		some, err := c.procSockets(file, protocol, states)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	c.gap(lvs.SourceSockets, "%s sockets were read from /proc/net/%s, because the kernel module %s_diag is not loaded, and loading it would be a change: "+
		"whether an IPv6 socket is IPv6-only, what device it is bound to and its backlog are not known", protocol, protocol, protocol)
	return all, nil
}

// diag asks sock_diag for the sockets in some states, of those only with a local address among local. It returns
// ENOENT when the module that answers is not there: asking would load it.
func (c *collector) diag(protocol lvs.Protocol, states uint32, local []netip.Addr) ([]socketEntry, error) {
	if !c.modules.present("inet_diag") || !c.modules.present(string(protocol)+"_diag") {
		return nil, unix.ENOENT
	}
	nl, err := dialNetlink(unix.NETLINK_SOCK_DIAG, c.deadline)
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	var out []socketEntry
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		var some []socketEntry
		err := again(func() error {
			some = nil
			return nl.dump(unix.SOCK_DIAG_BY_FAMILY, diagRequest(family, protocol, states, local), func(m nlmsg) error {
				if e, ok := parseDiag(m, protocol, c.device); ok {
					some = append(some, e)
				}
				if len(some) >= socketReadLimit {
					return errStop
				}
				return nil
			})
		})
		// The tables of sockets change all the time: an interrupted dump is as good as it gets.
		if err != nil && !errors.Is(err, errStop) && !errors.Is(err, errInterrupted) {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// diagRequest builds struct inet_diag_req_v2 and, for local, a filter that the kernel runs.
func diagRequest(family byte, protocol lvs.Protocol, states uint32, local []netip.Addr) []byte {
	b := make([]byte, sizeDiagRequest)
	b[0], b[1] = family, unix.IPPROTO_TCP
	if protocol == lvs.UDP {
		b[1] = unix.IPPROTO_UDP
	}
	binary.NativeEndian.PutUint32(b[4:], states)
	if len(local) > 0 {
		b = attribute(b, diagBytecode, localFilter(local))
	}
	return b
}

// localFilter is a filter program that takes a socket when its local address is one of these. Each condition is
// followed by a jump to the end; when it fails, the jump is skipped. Leaving the program four bytes behind its end
// means no (inet_diag_bc_run).
func localFilter(local []netip.Addr) []byte {
	const op, cond, jump = 4, 8, 4
	var sizes []int
	total := 0
	for _, ip := range local {
		n := op + cond + len(ip.AsSlice())
		sizes = append(sizes, n)
		total += n + jump
	}
	total -= jump // none behind the last
	b := make([]byte, 0, total)
	for i, ip := range local {
		b = append(b, bytecodeSource, byte(sizes[i]))
		b = binary.NativeEndian.AppendUint16(b, uint16(sizes[i]+jump))
		b = append(b, family(ip), byte(ip.BitLen()), 0, 0)
		b = binary.NativeEndian.AppendUint32(b, 0xffffffff) // any port
		b = append(b, ip.AsSlice()...)
		if i < len(local)-1 {
			left := total - len(b)
			b = append(b, bytecodeJump, jump)
			b = binary.NativeEndian.AppendUint16(b, uint16(left))
		}
	}
	return b
}

// parseDiag reads struct inet_diag_msg and its attributes.
func parseDiag(m nlmsg, protocol lvs.Protocol, device func(uint32) string) (socketEntry, bool) {
	if m.typ != unix.SOCK_DIAG_BY_FAMILY || len(m.data) < sizeDiagMessage {
		return socketEntry{}, false
	}
	d := m.data
	var e socketEntry
	e.Protocol, e.Port = protocol, getBE16(d[4:])
	peerPort := getBE16(d[6:])
	var peer netip.Addr
	if d[0] == unix.AF_INET {
		e.Address, peer = netip.AddrFrom4([4]byte(d[8:12])), netip.AddrFrom4([4]byte(d[24:28]))
	} else {
		e.Address, peer = netip.AddrFrom16([16]byte(d[8:24])), netip.AddrFrom16([16]byte(d[24:40]))
	}
	// A dual-stack socket that is bound to, or talks, IPv4 shows it mapped into IPv6.
	e.Address, peer = e.Address.Unmap(), peer.Unmap()
	e.peer = netip.AddrPortFrom(peer, peerPort)
	if index := getU32(d[40:]); index != 0 {
		e.Device = device(index)
	}
	if protocol == lvs.TCP && d[1] == tcpListen {
		e.Queue, e.Backlog = getU32(d[56:]), getU32(d[60:])
	}
	e.inode = getU32(d[68:])
	for typ, v := range attributes(d[sizeDiagMessage:]) {
		if typ == diagV6Only && len(v) > 0 {
			e.V6Only = v[0] != 0
		}
	}
	return e, true
}

// procSockets reads /proc/net/tcp and its like.
func (c *collector) procSockets(file string, protocol lvs.Protocol, states uint32) ([]socketEntry, error) {
	f, err := c.proc.net(file)
	if err != nil {
		if strings.HasSuffix(file, "6") && errors.Is(err, unix.ENOENT) {
			return nil, nil // no IPv6
		}
		return nil, err
	}
	defer f.Close()
	return parseProcSockets(f, protocol, states)
}

// parseProcSockets reads the text of tcp4_seq_show and its like:
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//	 0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 …
func parseProcSockets(r io.Reader, protocol lvs.Protocol, states uint32) ([]socketEntry, error) {
	var out []socketEntry
	lines := bufio.NewScanner(r)
	for n := 0; lines.Scan() && n < socketReadLimit; n++ {
		f := strings.Fields(lines.Text())
		if n == 0 || len(f) == 0 {
			continue
		}
		if len(f) < 10 {
			return nil, fmt.Errorf("line %d is no socket: %q", n+1, lines.Text())
		}
		state, err1 := strconv.ParseUint(f[3], 16, 8)
		local, err2 := parseProcSocketAddr(f[1])
		peer, err3 := parseProcSocketAddr(f[2])
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("line %d is no socket: %w", n+1, err)
		}
		if state > 31 || states&(1<<state) == 0 {
			continue
		}
		e := socketEntry{Socket: lvs.Socket{Protocol: protocol, Address: local.Addr(), Port: local.Port()}, peer: peer}
		if _, rx, ok := strings.Cut(f[4], ":"); ok && state == tcpListen {
			queue, _ := strconv.ParseUint(rx, 16, 32)
			e.Queue = uint32(queue)
		}
		inode, _ := strconv.ParseUint(f[9], 10, 32)
		e.inode = uint32(inode)
		out = append(out, e)
	}
	return out, lines.Err()
}

// parseProcSocketAddr reads "0100007F:0050": words of 32 bits in the machine's byte order, and a port.
func parseProcSocketAddr(s string) (netip.AddrPort, error) {
	addr, port, _ := strings.Cut(s, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b, err := hex.DecodeString(addr)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("no address: %q", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("no address: %q", s)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(p)), nil
}

// socketClients are the peers of TCP sockets whose local address is a VIP: on a real server, its clients.
func (c *collector) socketClients() {
	vips := c.vips[:min(len(c.vips), askVIPs)]
	if len(vips) == 0 {
		return
	}
	all, err := c.diag(lvs.TCP, tcpTalking, vips)
	if errors.Is(err, unix.ENOENT) {
		for _, file := range []string{"tcp", "tcp6"} {
			some, procErr := c.procSockets(file, lvs.TCP, tcpTalking)
			all, err = append(all, some...), procErr
		}
	}
	if err != nil {
		c.gapError(lvs.SourceClients, "clients of this host's sockets", err)
		return
	}
	arrange.By(all, func(a, b socketEntry) int { return a.peer.Compare(b.peer) })
	for _, e := range all {
		if slices.Contains(vips, e.Address) {
			if peer := e.peer.Addr().Unmap(); c.own(peer) && !slices.ContainsFunc(c.selves, func(x lvs.Client) bool { return x.Address == peer && x.Virtual == e.Address }) {
				c.selves = append(c.selves, lvs.Client{Address: peer, Virtual: e.Address, Origin: "socket"})
			}
			c.addClient(e.peer.Addr(), e.Address, "socket")
		}
	}
}
