package collect

import (
	"cmp"
	"net/netip"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

const (
	ifaProto      = 11 // IFA_PROTO, 5.18
	ifaInfinite   = 0xffffffff
	sizeIfAddrmsg = 8
	sizeIfaCache  = 16
	ifaCacheValid = 4 // offset of ifa_valid in struct ifa_cacheinfo
)

func (c *collector) readAddresses() {
	nl, err := dialNetlink(unix.NETLINK_ROUTE, c.deadline)
	if err != nil {
		c.gapError(lvs.SourceAddresses, "addresses (netlink)", err)
		return
	}
	defer nl.Close()
	var out []lvs.Address
	err = again(func() error {
		out = []lvs.Address{}
		return nl.dump(unix.RTM_GETADDR, make([]byte, sizeIfAddrmsg), func(m nlmsg) error {
			if a, ok := parseAddress(m, c.device); ok {
				out = append(out, a)
			}
			return nil
		})
	})
	if err != nil {
		c.gapError(lvs.SourceAddresses, "addresses (ip address show)", err)
		return
	}
	// Within a device the kernel's order stays: it decides about preferred sources and which secondary is promoted.
	arrange.By(out, func(a, b lvs.Address) int { return cmp.Compare(a.Device, b.Device) })
	c.s.Addresses = out
}

// parseAddress reads an RTM_NEWADDR message: struct ifaddrmsg and its attributes.
func parseAddress(m nlmsg, device func(uint32) string) (lvs.Address, bool) {
	if m.typ != unix.RTM_NEWADDR || len(m.data) < sizeIfAddrmsg {
		return lvs.Address{}, false
	}
	family, bits, flags, scope := m.data[0], int(m.data[1]), uint32(m.data[2]), m.data[3]
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return lvs.Address{}, false
	}
	a := lvs.Address{Device: device(getU32(m.data[4:])), Scope: scopeName(scope)}
	var local, address netip.Addr
	for typ, v := range attributes(m.data[sizeIfAddrmsg:]) {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case unix.IFA_BROADCAST:
			a.Broadcast, _ = netip.AddrFromSlice(v)
		case unix.IFA_LABEL:
			a.Label = getString(v)
		case unix.IFA_FLAGS:
			flags = getU32(v)
		case ifaProto:
			if len(v) > 0 {
				a.Proto = int(v[0])
			}
		case unix.IFA_CACHEINFO:
			a.Dynamic = len(v) >= sizeIfaCache && getU32(v[ifaCacheValid:]) != ifaInfinite
		}
	}
	// IFA_LOCAL is the address itself and IFA_ADDRESS the peer; IPv6 without a peer has IFA_ADDRESS only.
	if !local.IsValid() {
		local = address
	}
	a.Prefix = netip.PrefixFrom(local, bits)
	if local != address && address.IsValid() {
		a.Prefix = netip.PrefixFrom(local, local.BitLen())
		a.Peer = netip.PrefixFrom(address, bits)
	}
	a.Secondary = flags&unix.IFA_F_SECONDARY != 0 && family == unix.AF_INET // the same bit means "temporary" in IPv6
	a.Tentative = flags&unix.IFA_F_TENTATIVE != 0
	a.NoPrefixRoute = flags&unix.IFA_F_NOPREFIXROUTE != 0
	a.DADFailed = flags&unix.IFA_F_DADFAILED != 0
	a.Deprecated = flags&unix.IFA_F_DEPRECATED != 0
	return a, a.Prefix.IsValid()
}

// scopeName names RT_SCOPE_* as ip does.
func scopeName(scope uint8) string {
	switch scope {
	case unix.RT_SCOPE_UNIVERSE:
		return "global"
	case unix.RT_SCOPE_SITE:
		return "site"
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	case unix.RT_SCOPE_NOWHERE:
		return "nowhere"
	}
	return "other"
}
