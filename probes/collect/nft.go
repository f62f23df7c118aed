package collect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// Attributes of nfnetlink's nf_tables (include/uapi/linux/netfilter/nf_tables.h). All numbers are big-endian.
const (
	nftSubsystem  = unix.NFNL_SUBSYS_NFTABLES << 8
	nfgenHeader   = 4
	nftGetRule    = nftSubsystem | unix.NFT_MSG_GETRULE
	nftGetSet     = nftSubsystem | unix.NFT_MSG_GETSET
	nftGetElement = nftSubsystem | unix.NFT_MSG_GETSETELEM
	// NFT_TABLE_F_DORMANT, in the byte order of the kernel and, as google/nftables 0.3.0 hands it out, turned around.
	nftDormant = 1 | 1<<24

	// elementLimit bounds the elements read of one set: a blocklist may have a million.
	elementLimit = 4096
)

// readNFT reads nftables. google/nftables lists tables and chains. Rules and sets are decoded here, because that
// library leaves out expressions it does not know without a word, which would turn a rule "if … then drop" into
// "drop", and gives up on a set of an unknown type.
func (c *collector) readNFT(nf *lvs.Netfilter) error {
	if !c.modules.present("nfnetlink") || !c.modules.present("nf_tables") {
		return nil // no nftables in the kernel, so no rules; asking would load it
	}
	var got *nftRuleset
	err := again(func() (err error) {
		got, err = c.readRuleset()
		return err
	})
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	got.fill(nf)
	return err
}

// nftRuleset is what was read of nftables, before translation.
type nftRuleset struct {
	chains []*nftables.Chain
	tables []*nftables.Table
	rules  map[nftID][]nftRule // by chain, in order
	sets   map[nftID]*nftSet
	device func(uint32) string
}

// nftID names a chain or a set.
type nftID struct {
	family      byte
	table, name string
}

// nftRule is a rule with its expressions still encoded.
type nftRule struct {
	handle      uint64
	expressions []byte
	comment     string
}

func (c *collector) readRuleset() (*nftRuleset, error) {
	r := &nftRuleset{rules: map[nftID][]nftRule{}, sets: map[nftID]*nftSet{}, device: c.device}
	lib, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(conn *netlink.Conn) error { return conn.SetDeadline(c.deadline) }))
	if err != nil {
		return nil, err
	}
	defer lib.CloseLasting()
	if r.tables, err = lib.ListTables(); err != nil {
		return nil, err
	}
	if r.chains, err = lib.ListChains(); err != nil {
		return nil, err
	}
	nl, err := dialNetlink(unix.NETLINK_NETFILTER, c.deadline)
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	if err := r.readSets(nl); err != nil {
		return nil, err
	}
	return r, r.readRules(nl, c.opt.RuleLimit)
}

// readRules dumps the rules of all chains at once. It returns errStop at the limit.
func (r *nftRuleset) readRules(nl *nlconn, limit int) error {
	n := 0
	return nl.dump(nftGetRule, make([]byte, nfgenHeader), func(m nlmsg) error {
		if len(m.data) < nfgenHeader {
			return nil
		}
		if n++; n > limit {
			return errStop
		}
		id, rule := parseNFTRule(m.data)
		r.rules[id] = append(r.rules[id], rule)
		return nil
	})
}

func parseNFTRule(data []byte) (nftID, nftRule) {
	id, rule := nftID{family: data[0]}, nftRule{}
	for typ, v := range attributes(data[nfgenHeader:]) {
		switch typ {
		case unix.NFTA_RULE_TABLE:
			id.table = getString(v)
		case unix.NFTA_RULE_CHAIN:
			id.name = getString(v)
		case unix.NFTA_RULE_HANDLE:
			rule.handle = be64(v)
		case unix.NFTA_RULE_EXPRESSIONS:
			rule.expressions = slices.Clone(v)
		case unix.NFTA_RULE_USERDATA:
			rule.comment = ruleComment(v)
		}
	}
	return id, rule
}

// ruleComment finds the comment in nft's own notes: type, length, value. Type 0 is the comment.
func ruleComment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == 0 {
			return getString(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

// fill translates.
func (r *nftRuleset) fill(nf *lvs.Netfilter) {
	dormant := map[nftID]bool{}
	for _, t := range r.tables {
		dormant[nftID{byte(t.Family), t.Name, ""}] = t.Flags&nftDormant != 0
	}
	for _, ch := range r.chains {
		if ch.Table == nil {
			continue
		}
		id := nftID{byte(ch.Table.Family), ch.Table.Name, ch.Name}
		out := lvs.Chain{Backend: "nftables", Family: familyName(id.family), Table: id.table, Name: id.name, Rules: []lvs.FilterRule{}}
		// The base chains of a dormant table hang on no hook.
		if ch.Hooknum != nil && !dormant[nftID{id.family, id.table, ""}] {
			out.Type, out.Hook, out.Policy = string(ch.Type), hookName(id.family, uint32(*ch.Hooknum)), "accept"
			if ch.Priority != nil {
				out.Priority = int(*ch.Priority)
			}
			if ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
				out.Policy = "drop"
			}
		}
		for _, rule := range r.rules[id] {
			t := translator{family: out.Family, device: r.device, set: func(name string) *nftSet { return r.sets[nftID{id.family, id.table, name}] }}
			out.Rules = append(out.Rules, t.rule(rule)...)
		}
		nf.Chains = append(nf.Chains, out)
	}
	for id, s := range r.sets {
		if s.anonymous {
			continue // their elements are in the rules
		}
		nf.Sets = append(nf.Sets, lvs.Set{Family: familyName(id.family), Table: id.table, Name: id.name, Elements: s.texts(s.kinds()), Truncated: s.truncated})
	}
}

func familyName(f byte) string {
	switch f {
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_IPV6:
		return "ip6"
	case unix.NFPROTO_ARP:
		return "arp"
	case unix.NFPROTO_BRIDGE:
		return "bridge"
	case unix.NFPROTO_NETDEV:
		return "netdev"
	}
	return strconv.Itoa(int(f))
}

// hookName names a hook number, which means something else in each kind of family.
func hookName(family byte, hook uint32) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	switch family {
	case unix.NFPROTO_NETDEV:
		names = []string{"ingress", "egress"}
	case unix.NFPROTO_ARP:
		names = []string{"input", "output", "forward"}
	}
	if int(hook) < len(names) {
		return names[hook]
	}
	return fmt.Sprintf("hook %d", hook)
}

func be32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func be64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
