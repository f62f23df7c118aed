//go:build linux

package live

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filterSpec is what the kernel shall let through. Whatever it rejects costs the host a tenth of a packet
// that is kept.
type filterSpec struct {
	virtuals []netip.Addr
	ports    []uint16
	allow    []int32 // interfaces; none: all but loopback
	loopback int32
	ssh      sshSession
	snap     uint32
	sample   int // one in so many flows, a power of two
}

// sshSession holds the two ports of the operator's own session; both 0 if there is none.
type sshSession struct{ client, server uint16 }

// parseSSH reads SSH_CONNECTION: client address, its port, server address, its port.
func parseSSH(s string) sshSession {
	f := strings.Fields(s)
	if len(f) != 4 {
		return sshSession{}
	}
	c, err1 := strconv.ParseUint(f[1], 10, 16)
	p, err2 := strconv.ParseUint(f[3], 10, 16)
	if err1 != nil || err2 != nil {
		return sshSession{}
	}
	return sshSession{uint16(c), uint16(p)}
}

const (
	// netOff makes a load relative to the network header (SKF_NET_OFF), whatever link and VLAN headers a
	// frame has in front of it.
	netOff = 0xfff00000

	// maxFilterVirtuals keeps the program short: beyond it the kernel lets all addresses through and the
	// Tracker does the choosing.
	maxFilterVirtuals = 64
	maxFilterPorts    = 64

	ipFragOffset = 0x1fff
)

// assembler collects instructions with jumps to names. Conditional jumps reach only 255 instructions, so
// every one of them hops over an unconditional one, which reaches anywhere.
type assembler struct {
	ins    []bpf.Instruction
	labels map[string]int
	jumps  map[int]string
}

func (a *assembler) emit(i ...bpf.Instruction) { a.ins = append(a.ins, i...) }

func (a *assembler) label(name string) { a.labels[name] = len(a.ins) }

func (a *assembler) jump(to string) {
	a.jumps[len(a.ins)] = to
	a.emit(bpf.Jump{})
}

// ifEqual jumps if the accumulator is v.
func (a *assembler) ifEqual(v uint32, to string) {
	a.emit(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1})
	a.jump(to)
}

func (a *assembler) load(off uint32, size int) {
	a.emit(bpf.LoadAbsolute{Off: netOff + off, Size: size})
}

func (a *assembler) assemble() ([]unix.SockFilter, error) {
	for at, to := range a.jumps {
		a.ins[at] = bpf.Jump{Skip: uint32(a.labels[to] - at - 1)} // jumps only go forward
	}
	raw, err := bpf.Assemble(a.ins)
	if err != nil {
		return nil, err
	}
	prog := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		prog[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return prog, nil
}

// buildFilter assembles the program. Accepted are, on the chosen interfaces: TCP and UDP of the virtual
// services, of fragments only the first piece; ARP for the VIPs; ICMP and ICMPv6; packets in IPIP and in
// in-band VLAN tags, which are looked into later.
func buildFilter(s filterSpec) ([]unix.SockFilter, error) {
	a := &assembler{labels: map[string]int{}, jumps: map[int]string{}}
	var v4, v6 []netip.Addr
	for _, addr := range s.virtuals {
		if addr = addr.Unmap(); addr.Is4() {
			v4 = append(v4, addr)
		} else {
			v6 = append(v6, addr.WithZone(""))
		}
	}
	all := len(s.virtuals) == 0 || len(s.virtuals) > maxFilterVirtuals
	if all {
		v4, v6 = nil, nil
	}
	if len(s.ports) > maxFilterPorts {
		s.ports = nil
	}

	a.interfaces(s)
	a.emit(bpf.LoadExtension{Num: bpf.ExtProto})
	a.ifEqual(unix.ETH_P_IP, "ipv4")
	a.ifEqual(unix.ETH_P_ARP, "arp")
	if all || len(v6) > 0 {
		a.ifEqual(unix.ETH_P_IPV6, "ipv6")
	}
	a.ifEqual(unix.ETH_P_8021Q, "accept")
	a.ifEqual(unix.ETH_P_8021AD, "accept")
	a.jump("reject")

	a.label("arp")
	if !all {
		a.load(14, 4)
		a.anyOf(v4, "accept")
		a.load(24, 4)
		a.anyOf(v4, "accept")
		a.jump("reject")
	} else {
		a.jump("accept")
	}

	a.label("ipv4")
	a.load(9, 1)
	a.ifEqual(unix.IPPROTO_ICMP, "accept")
	a.ifEqual(unix.IPPROTO_IPIP, "accept")
	a.ifEqual(unix.IPPROTO_TCP, "transport4")
	a.ifEqual(unix.IPPROTO_UDP, "transport4")
	a.jump("reject")
	a.label("transport4")
	a.load(6, 2)
	a.emit(bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: ipFragOffset, SkipTrue: 1})
	a.jump("reject")
	a.emit(bpf.LoadMemShift{Off: netOff})
	a.endpoints(s, all, v4, "4")

	if all || len(v6) > 0 {
		a.label("ipv6")
		a.load(6, 1)
		a.ifEqual(unix.IPPROTO_ICMPV6, "accept")
		a.ifEqual(0, "accept") // extension headers: rare, and looked into later
		a.ifEqual(43, "accept")
		a.ifEqual(44, "accept")
		a.ifEqual(60, "accept")
		a.ifEqual(unix.IPPROTO_TCP, "transport6")
		a.ifEqual(unix.IPPROTO_UDP, "transport6")
		a.jump("reject")
		a.label("transport6")
		a.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: 40})
		a.endpoints(s, all, v6, "6")
	}

	a.label("reject")
	a.emit(bpf.RetConstant{Val: 0})
	a.label("accept")
	a.emit(bpf.RetConstant{Val: s.snap})
	return a.assemble()
}

func (a *assembler) interfaces(s filterSpec) {
	switch {
	case len(s.allow) > 0:
		a.emit(bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
		for _, i := range s.allow {
			a.ifEqual(uint32(i), "interface")
		}
		a.jump("reject")
		a.label("interface")
	case s.loopback > 0:
		a.emit(bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
		a.ifEqual(uint32(s.loopback), "reject")
	}
}

// endpoints accepts a packet whose source or destination is a virtual service. X holds the length of the
// IP header. The ports lie behind it, source first.
func (a *assembler) endpoints(s filterSpec, all bool, vips []netip.Addr, name string) {
	source, dest := "source"+name, "dest"+name
	srcAddr, dstAddr := uint32(12), uint32(16)
	if name == "6" {
		srcAddr, dstAddr = 8, 24
	}
	const srcPort, dstPort = 0, 2
	if all {
		a.exclude(s.ssh, name)
		a.label(source)
		a.service(s, srcPort, dest)
		a.label(dest)
		a.service(s, dstPort, "reject")
		return
	}
	a.addresses(srcAddr, vips, "from"+name, name == "6")
	a.jump(dest)
	a.label("from" + name)
	a.service(s, srcPort, dest)
	a.label(dest)
	a.addresses(dstAddr, vips, "to"+name, name == "6")
	a.jump("reject")
	a.label("to" + name)
	a.service(s, dstPort, "reject")
}

// service accepts if the port at off is of a virtual service and the flow is in the sample.
func (a *assembler) service(s filterSpec, off uint32, otherwise string) {
	hit := "hit" + strconv.Itoa(len(a.ins))
	if len(s.ports) > 0 {
		a.emit(bpf.LoadIndirect{Off: netOff + off, Size: 2})
		for _, p := range s.ports {
			a.ifEqual(uint32(p), hit)
		}
		a.jump(otherwise)
	}
	a.label(hit)
	if s.sample > 1 {
		// Both ports together are the same both ways, and one of them is the service's. The lowest bit is
		// not random: Linux clients use ports of one parity first. X is not needed any more.
		a.emit(bpf.LoadIndirect{Off: netOff, Size: 2}, bpf.StoreScratch{Src: bpf.RegA, N: 0},
			bpf.LoadIndirect{Off: netOff + 2, Size: 2}, bpf.LoadScratch{Dst: bpf.RegX, N: 0},
			bpf.ALUOpX{Op: bpf.ALUOpXor},
			bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 1},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(s.sample - 1)},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1})
		a.jump("reject")
	}
	a.jump("accept")
}

// exclude rejects the operator's own session, both ways.
func (a *assembler) exclude(ssh sshSession, name string) {
	if ssh == (sshSession{}) {
		return
	}
	for i, pair := range [][2]uint16{{ssh.client, ssh.server}, {ssh.server, ssh.client}} {
		next := "ssh" + name + strconv.Itoa(i)
		a.emit(bpf.LoadIndirect{Off: netOff, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(pair[0]), SkipTrue: 1})
		a.jump(next)
		a.emit(bpf.LoadIndirect{Off: netOff + 2, Size: 2})
		a.ifEqual(uint32(pair[1]), "reject")
		a.label(next)
	}
}

// anyOf jumps if the accumulator holds one of the IPv4 addresses.
func (a *assembler) anyOf(addrs []netip.Addr, to string) {
	for _, addr := range addrs {
		b := addr.As4()
		a.ifEqual(binary.BigEndian.Uint32(b[:]), to)
	}
}

// addresses jumps if the address at off is one of vips.
func (a *assembler) addresses(off uint32, vips []netip.Addr, to string, six bool) {
	if !six {
		a.load(off, 4)
		a.anyOf(vips, to)
		return
	}
	for _, addr := range vips {
		b := addr.As16()
		next := "word" + strconv.Itoa(len(a.ins))
		for w := 0; w < 16; w += 4 {
			a.load(off+uint32(w), 4)
			a.emit(bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(b[w:]), SkipTrue: 1})
			a.jump(next)
		}
		a.jump(to)
		a.label(next)
	}
}
