package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/lvs"
)

func doAccept(st fixes.Step) error {
	c, err := nftables.New()
	if err != nil {
		return refused(err)
	}
	switch st := st.(type) {
	case fixes.AddAccept:
		rule := acceptRule(st)
		if there, err := ownRules(c, st); err != nil || len(there) > 0 {
			return err // or it is there
		}
		c.InsertRule(rule)
	case fixes.DelAccept:
		there, err := ownRules(c, fixes.AddAccept(st))
		if err != nil {
			return err
		}
		if len(there) == 0 {
			return errors.New("the rule is not there any more")
		}
		for _, rule := range there {
			if err := c.DelRule(rule); err != nil {
				return err
			}
		}
	}
	return refused(c.Flush())
}

// ownRules are the rules of the chain that carry the step's comment.
func ownRules(c *nftables.Conn, st fixes.AddAccept) ([]*nftables.Rule, error) {
	table, chain := placeOf(st)
	all, err := c.GetRules(table, chain)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("there is no chain %s in the table %s %s any more", st.Chain, st.Family, st.Table)
	}
	if err != nil {
		return nil, refused(err)
	}
	return slices.DeleteFunc(all, func(r *nftables.Rule) bool {
		return commentOf(r) != st.Comment()
	}), nil
}

// commentOf is where nft keeps a rule's comment, or where iptables-nft does.
func commentOf(r *nftables.Rule) string {
	if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
		return comment
	}
	for _, e := range r.Exprs {
		if m, ok := e.(*expr.Match); ok && m.Name == "comment" {
			if c, ok := m.Info.(*xt.Comment); ok {
				return strings.TrimRight(string(*c), "\x00")
			}
		}
	}
	return ""
}

func placeOf(st fixes.AddAccept) (*nftables.Table, *nftables.Chain) {
	family := map[string]nftables.TableFamily{"inet": nftables.TableFamilyINet, "ip": nftables.TableFamilyIPv4, "ip6": nftables.TableFamilyIPv6}[st.Family]
	table := &nftables.Table{Family: family, Name: st.Table}
	return table, &nftables.Chain{Table: table, Name: st.Chain}
}

// acceptRule is the rule as nft itself would make it, or iptables-nft, so that each can show what it finds in its tables.
func acceptRule(st fixes.AddAccept) *nftables.Rule {
	table, chain := placeOf(st)
	var all []expr.Any
	equal := func(load expr.Any, data ...byte) {
		all = append(all, load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data})
	}
	protocol := func() { equal(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, protocolNumber(st.Protocol)) }
	if st.Family == "inet" {
		equal(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, map[bool]byte{true: unix.NFPROTO_IPV4, false: unix.NFPROTO_IPV6}[st.Address.Is4()])
	}
	if st.IPTables {
		protocol()
	}
	equal(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: addressOffset(st.Address, st.Replies), Len: uint32(st.Address.BitLen() / 8)},
		st.Address.AsSlice()...)
	if st.IPTables {
		all = append(all, portMatch(st))
	} else {
		protocol()
		offset := uint32(2)
		if st.Replies {
			offset = 0
		}
		equal(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}, binaryutil.BigEndian.PutUint16(st.Port)...)
	}
	all = append(all, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
	return &nftables.Rule{Table: table, Chain: chain, Exprs: all, UserData: userdata.AppendString(nil, userdata.TypeComment, st.Comment())}
}

// portMatch is the match of iptables: releases before 1.8.8 read no other.
func portMatch(st fixes.AddAccept) expr.Any {
	any, one := [2]uint16{0, 65535}, [2]uint16{st.Port, st.Port}
	from, to := any, one
	if st.Replies {
		from, to = one, any
	}
	if st.Protocol == lvs.UDP {
		return &expr.Match{Name: "udp", Info: &xt.Udp{SrcPorts: from, DstPorts: to}}
	}
	return &expr.Match{Name: "tcp", Info: &xt.Tcp{SrcPorts: from, DstPorts: to}}
}

func protocolNumber(p lvs.Protocol) byte {
	return map[lvs.Protocol]byte{lvs.TCP: unix.IPPROTO_TCP, lvs.UDP: unix.IPPROTO_UDP, lvs.SCTP: unix.IPPROTO_SCTP}[p]
}

// addressOffset is where source and destination are in the headers of IPv4 and IPv6.
func addressOffset(ip netip.Addr, source bool) uint32 {
	switch {
	case ip.Is4() && source:
		return 12
	case ip.Is4():
		return 16
	case source:
		return 8
	}
	return 24
}
