package collect

import (
	"cmp"
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

// nftSet is a set or map with its elements.
type nftSet struct {
	anonymous, interval, isMap bool
	keyType                    uint32
	keyLen                     int
	elements                   []nftElement
	truncated                  bool
}

type nftElement struct {
	key, keyEnd []byte
	end         bool // the first value behind an interval
	catchall    bool
	verdict     *nftVerdict
}

type nftVerdict struct {
	code  int32
	chain string
}

// readSets lists all sets and reads their elements, at most elementLimit of each.
func (r *nftRuleset) readSets(nl *nlconn) error {
	err := nl.dump(nftGetSet, make([]byte, nfgenHeader), func(m nlmsg) error {
		if len(m.data) >= nfgenHeader {
			id, s := parseNFTSet(m.data)
			r.sets[id] = s
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, s := range r.sets {
		request := []byte{id.family, 0, 0, 0}
		request = attribute(request, unix.NFTA_SET_ELEM_LIST_TABLE, append([]byte(id.table), 0))
		request = attribute(request, unix.NFTA_SET_ELEM_LIST_SET, append([]byte(id.name), 0))
		err := nl.dump(nftGetElement, request, func(m nlmsg) error {
			if len(m.data) < nfgenHeader {
				return nil
			}
			s.elements = append(s.elements, parseNFTElements(m.data[nfgenHeader:])...)
			if len(s.elements) > elementLimit {
				s.elements, s.truncated = s.elements[:elementLimit], true
				return errStop
			}
			return nil
		})
		if errors.Is(err, unix.ENOENT) {
			return errInterrupted // removed meanwhile
		}
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
	}
	return nil
}

func parseNFTSet(data []byte) (nftID, *nftSet) {
	id, s := nftID{family: data[0]}, &nftSet{}
	for typ, v := range attributes(data[nfgenHeader:]) {
		switch typ {
		case unix.NFTA_SET_TABLE:
			id.table = getString(v)
		case unix.NFTA_SET_NAME:
			id.name = getString(v)
		case unix.NFTA_SET_FLAGS:
			flags := be32(v)
			s.anonymous, s.interval, s.isMap = flags&unix.NFT_SET_ANONYMOUS != 0, flags&unix.NFT_SET_INTERVAL != 0, flags&unix.NFT_SET_MAP != 0
		case unix.NFTA_SET_KEY_TYPE:
			s.keyType = be32(v)
		case unix.NFTA_SET_KEY_LEN:
			s.keyLen = int(be32(v))
		}
	}
	return id, s
}

func parseNFTElements(b []byte) []nftElement {
	var out []nftElement
	for typ, list := range attributes(b) {
		if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for _, item := range attributes(list) {
			var e nftElement
			for typ, v := range attributes(item) {
				switch typ {
				case unix.NFTA_SET_ELEM_KEY:
					e.key, _ = nftData(v)
				case unix.NFTA_SET_ELEM_DATA:
					_, e.verdict = nftData(v)
				case unix.NFTA_SET_ELEM_FLAGS:
					flags := be32(v)
					e.end, e.catchall = flags&unix.NFT_SET_ELEM_INTERVAL_END != 0, flags&2 != 0 // NFT_SET_ELEM_CATCHALL
				case 10: // NFTA_SET_ELEM_KEY_END
					e.keyEnd, _ = nftData(v)
				}
			}
			out = append(out, e)
		}
	}
	return out
}

// nftData reads a value or a verdict.
func nftData(b []byte) (value []byte, verdict *nftVerdict) {
	for typ, v := range attributes(b) {
		switch typ {
		case unix.NFTA_DATA_VALUE:
			value = slices.Clone(v)
		case unix.NFTA_DATA_VERDICT:
			verdict = &nftVerdict{}
			for typ, v := range attributes(v) {
				switch typ {
				case unix.NFTA_VERDICT_CODE:
					verdict.code = int32(be32(v))
				case unix.NFTA_VERDICT_CHAIN:
					verdict.chain = getString(v)
				}
			}
		}
	}
	return value, verdict
}

// spans are the values of a set: from and to, which are equal for a single one. Elements of interval sets are
// starts and ends, in no order.
func (s *nftSet) spans() []nftSpan {
	var out []nftSpan
	elements := slices.Clone(s.elements)
	slices.SortStableFunc(elements, func(a, b nftElement) int {
		return cmp.Or(slices.Compare(a.key, b.key), compareBool(b.end, a.end))
	})
	for i, e := range elements {
		if e.end {
			continue
		}
		span := nftSpan{from: e.key, to: e.key, catchall: e.catchall, verdict: e.verdict}
		switch {
		case e.keyEnd != nil:
			span.to = e.keyEnd
		case s.interval && !e.catchall:
			span.to = slices.Repeat([]byte{0xff}, len(e.key)) // to the end, unless something follows
			if i+1 < len(elements) && slices.Compare(elements[i+1].key, e.key) > 0 {
				span.to = before(elements[i+1].key)
			}
		}
		out = append(out, span)
	}
	return out
}

type nftSpan struct {
	from, to []byte
	catchall bool
	verdict  *nftVerdict
}

// before is the number before b, big-endian.
func before(b []byte) []byte {
	out := slices.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]--
		if out[i] != 0xff {
			break
		}
	}
	return out
}

// texts are a set's elements as nft writes them.
func (s *nftSet) texts(kinds []kind) []string {
	out := []string{}
	for _, span := range s.spans() {
		out = append(out, span.text(kinds))
	}
	return out
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
