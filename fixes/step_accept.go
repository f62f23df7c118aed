package fixes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/lvs"
)

const (
	kindAddAccept = "accept-add"
	kindDelAccept = "accept-del"

	// acceptMark begins the comment of every packet filter rule of ours.
	acceptMark = "lvstui "
)

// AddAccept puts a rule that accepts the packets of one service at the head of a chain of nftables. To accept in a chain of our
// own would not do: what one base chain accepts the next may still drop, so the rule goes into the very chain that drops.
type AddAccept struct {
	Family string `json:"family"` // of the table: "inet", "ip" or "ip6"
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	// IPTables says that iptables-nft keeps the table: the rule is then of the form that all its releases read.
	IPTables bool         `json:"iptables,omitempty"`
	Protocol lvs.Protocol `json:"protocol"`
	Address  netip.Addr   `json:"address"` // the VIP
	Port     uint16       `json:"port"`
	// Replies says that it is about packets from the service, not for it.
	Replies bool `json:"replies,omitempty"`
}

// DelAccept takes the rule out again. It is found by its comment.
type DelAccept AddAccept

// Kind is "accept-add".
func (st AddAccept) Kind() string { return kindAddAccept }

// Kind is "accept-del".
func (st DelAccept) Kind() string { return kindDelAccept }

// Command is the nft(8) or iptables(8) command line.
func (st AddAccept) Command() string {
	if st.IPTables {
		return fmt.Sprintf("%s -I %s %s", st.iptables(), shellWord(st.Chain), st.iptablesRule())
	}
	return fmt.Sprintf("nft insert rule %s %s %s '%s'", st.Family, shellWord(st.Table), shellWord(st.Chain), st.rule())
}

// Command is the nft(8) or iptables(8) command line. nft deletes by a number that the kernel gives.
func (st DelAccept) Command() string {
	add := AddAccept(st)
	if st.IPTables {
		return fmt.Sprintf("%s -D %s %s", add.iptables(), shellWord(st.Chain), add.iptablesRule())
	}
	chain := fmt.Sprintf("%s %s %s", st.Family, shellWord(st.Table), shellWord(st.Chain))
	return fmt.Sprintf(`nft delete rule %s handle $(nft -a list chain %s | grep -F '"%s"' | sed 's/.* //')`, chain, chain, add.Comment())
}

// Comment is what tells the rule from others.
func (st AddAccept) Comment() string {
	of := ""
	if st.Replies {
		of = "replies "
	}
	return fmt.Sprintf("%s%s%s %s", acceptMark, of, st.Protocol, netip.AddrPortFrom(st.Address, st.Port))
}

// fields are what the rule looks at, spelled as nft does.
func (st AddAccept) fields() (address, port string) {
	family := "ip"
	if st.Address.Is6() {
		family = "ip6"
	}
	if st.Replies {
		return family + " saddr", string(st.Protocol) + " sport"
	}
	return family + " daddr", string(st.Protocol) + " dport"
}

func (st AddAccept) rule() string {
	address, port := st.fields()
	return fmt.Sprintf(`%s %s %s %d counter accept comment "%s"`, address, st.Address, port, st.Port, st.Comment())
}

func (st AddAccept) iptables() string {
	command := "iptables-nft"
	if st.Family == "ip6" {
		command = "ip6tables-nft"
	}
	if st.Table != "filter" {
		command += " -t " + shellWord(st.Table)
	}
	return command
}

func (st AddAccept) iptablesRule() string {
	address, port := "-d", "--dport"
	if st.Replies {
		address, port = "-s", "--sport"
	}
	return fmt.Sprintf("%s %s -p %s %s %d -m comment --comment '%s' -j ACCEPT", address, st.Address, st.Protocol, port, st.Port, st.Comment())
}

// Validate refuses what nftables could not have, and names that are not for a shell.
func (st AddAccept) Validate() error {
	if !slices.Contains([]string{"inet", "ip", "ip6"}, st.Family) {
		return fmt.Errorf("%q is no family of tables that IP packets pass", st.Family)
	}
	for _, name := range []string{st.Table, st.Chain} {
		if name == "" || len(name) > 255 || strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'\`, r) }) >= 0 {
			return fmt.Errorf("%q is no name of a table or chain", name)
		}
	}
	if !slices.Contains([]lvs.Protocol{lvs.TCP, lvs.UDP, lvs.SCTP}, st.Protocol) || st.Port == 0 {
		return fmt.Errorf("%s/%d is no service", st.Protocol, st.Port)
	}
	if st.Address.Is6() && st.Family == "ip" || st.Address.Is4() && st.Family == "ip6" {
		return fmt.Errorf("packets of %s do not pass tables of the family %s", st.Address, st.Family)
	}
	if st.IPTables && (st.Protocol == lvs.SCTP || st.Family == "inet") {
		return fmt.Errorf("lvstui writes no such rule for iptables-nft")
	}
	return validHost(st.Address)
}

// Validate refuses what nftables could not have.
func (st DelAccept) Validate() error { return AddAccept(st).Validate() }

// chainIn is the index of the chain, -1 when it is not there.
func (st AddAccept) chainIn(s *lvs.Snapshot) int {
	if s.Netfilter == nil {
		return -1
	}
	return slices.IndexFunc(s.Netfilter.Chains, func(ch lvs.Chain) bool {
		return ch.Backend == "nftables" && ch.Family == st.Family && ch.Table == st.Table && ch.Name == st.Chain
	})
}

// in is the index of the rule in its chain, -1 when it is not there.
func (st AddAccept) in(s *lvs.Snapshot) (chain, rule int) {
	chain = st.chainIn(s)
	if chain < 0 {
		return -1, -1
	}
	return chain, slices.IndexFunc(s.Netfilter.Chains[chain].Rules, func(r lvs.FilterRule) bool {
		return r.Comment == st.Comment() && r.Verdict == "accept"
	})
}

// Was says what there is now.
func (st AddAccept) Was(s *lvs.Snapshot) string {
	chain, rule := st.in(s)
	switch {
	case s.Netfilter == nil || !s.Netfilter.NFTables:
		return "could not be read"
	case chain < 0:
		return "there is no such chain"
	case rule < 0:
		return "not there"
	}
	return "there already"
}

// Was says what there is now.
func (st DelAccept) Was(s *lvs.Snapshot) string { return AddAccept(st).Was(s) }

// Done says that the rule is there.
func (st AddAccept) Done(s *lvs.Snapshot) bool {
	_, rule := st.in(s)
	return rule >= 0
}

// Done says that the rule is not there. It is not done when the rules could not be read.
func (st DelAccept) Done(s *lvs.Snapshot) bool {
	return s.Netfilter != nil && s.Netfilter.NFTables && !AddAccept(st).Done(s)
}

func (st AddAccept) possible(s *lvs.Snapshot) error {
	if err := st.Validate(); err != nil {
		return err
	}
	if s.Netfilter == nil || !s.Netfilter.NFTables {
		return fmt.Errorf("the rules of nftables on %s could not be read", s.Host)
	}
	return nil
}

// Simulate puts the rule at the head of the chain.
func (st AddAccept) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := st.possible(s); err != nil || st.Done(s) {
		return s, err
	}
	chain := st.chainIn(s)
	if chain < 0 {
		return nil, fmt.Errorf("there is no chain %s in the table %s %s of %s", st.Chain, st.Family, st.Table, s.Host)
	}
	return withRules(s, chain, slices.Insert(slices.Clone(s.Netfilter.Chains[chain].Rules), 0, st.filterRule())), nil
}

// filterRule is what a snapshot has of the rule, but for the number that the kernel gives.
func (st AddAccept) filterRule() lvs.FilterRule {
	address, port := st.fields()
	matches := []lvs.Match{{Field: address, Values: []string{st.Address.String()}}, {Field: "meta l4proto", Values: []string{string(st.Protocol)}},
		{Field: port, Values: []string{fmt.Sprint(st.Port)}}}
	if st.Family == "inet" {
		family := map[bool]string{true: "ipv4", false: "ipv6"}[st.Address.Is4()]
		matches = slices.Insert(matches, 0, lvs.Match{Field: "meta nfproto", Values: []string{family}})
	}
	if st.IPTables {
		matches[0], matches[1] = matches[1], matches[0]
	}
	return lvs.FilterRule{Matches: matches, Verdict: "accept", Counted: true, Comment: st.Comment(), XTables: st.IPTables, Text: st.rule()}
}

func withRules(s *lvs.Snapshot, chain int, rules []lvs.FilterRule) *lvs.Snapshot {
	next, nf := *s, *s.Netfilter
	nf.Chains = slices.Clone(nf.Chains)
	nf.Chains[chain].Rules = rules
	next.Netfilter = &nf
	return &next
}

// Simulate takes the rule out.
func (st DelAccept) Simulate(s *lvs.Snapshot) (*lvs.Snapshot, error) {
	if err := AddAccept(st).possible(s); err != nil || st.Done(s) {
		return s, err
	}
	chain, rule := AddAccept(st).in(s)
	return withRules(s, chain, slices.Delete(slices.Clone(s.Netfilter.Chains[chain].Rules), rule, rule+1)), nil
}

// Undo takes the rule out again.
func (st AddAccept) Undo(s *lvs.Snapshot) ([]Step, error) {
	if _, err := st.Simulate(s); err != nil || st.Done(s) {
		return nil, err
	}
	return []Step{DelAccept(st)}, nil
}

// Undo puts the rule back at the head of its chain, if that is where it is.
func (st DelAccept) Undo(s *lvs.Snapshot) ([]Step, error) {
	if err := AddAccept(st).possible(s); err != nil || st.Done(s) {
		return nil, err
	}
	if _, rule := AddAccept(st).in(s); rule > 0 {
		return nil, fmt.Errorf("the rule %q is not the first of its chain: it could not be put back to its place", AddAccept(st).Comment())
	}
	return []Step{AddAccept(st)}, nil
}

// Risk is none: what is let through more is not the operator's.
func (st AddAccept) Risk(*lvs.Snapshot) string { return "" }

// Risk says when the operator comes by the service.
func (st DelAccept) Risk(s *lvs.Snapshot) string {
	if op := s.Operator; op != nil && op.Server == netip.AddrPortFrom(st.Address, st.Port) && !st.Done(s) {
		return fmt.Sprintf("your SSH session is to %s, which this rule lets in", op.Server)
	}
	return ""
}

func acceptFact(family, table, chain, comment string) string {
	return fmt.Sprintf("the rule %q in the chain %s %s %s", comment, family, table, chain)
}

// acceptFacts adds the rules that carry our mark.
func acceptFacts(s *lvs.Snapshot, out map[string]string) {
	if s.Netfilter == nil {
		return
	}
	for _, ch := range s.Netfilter.Chains {
		for _, r := range ch.Rules {
			if strings.HasPrefix(r.Comment, acceptMark) && ch.Backend == "nftables" {
				out[acceptFact(ch.Family, ch.Table, ch.Name, r.Comment)] = "there, " + cmp.Or(r.Verdict, "without a verdict")
			}
		}
	}
}
