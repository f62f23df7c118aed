package lvs

// Netfilter is the packet filter rules of one namespace, nftables and legacy iptables in one shape.
type Netfilter struct {
	// NFTables and Legacy say which back ends were read; a back end that is absent from the kernel counts as read.
	NFTables bool    `json:"nftables"`
	Legacy   bool    `json:"legacy"`
	Chains   []Chain `json:"chains"`
	Sets     []Set   `json:"sets,omitempty"`
}

// Chain is a chain of rules, a base chain when Hook is set.
type Chain struct {
	Backend  string       `json:"backend"` // "nftables" or "legacy"
	Family   string       `json:"family"`  // "ip", "ip6", "inet", "arp", "bridge", "netdev"
	Table    string       `json:"table"`
	Name     string       `json:"name"`
	Type     string       `json:"type,omitempty"`     // "filter", "nat", "route"
	Hook     string       `json:"hook,omitempty"`     // "prerouting", "input", "forward", "output", "postrouting", "ingress"
	Priority int          `json:"priority,omitempty"` // ip_vs works at 99 on input (NF_IP_PRI_NAT_SRC-1)
	Policy   string       `json:"policy,omitempty"`   // "accept", "drop"
	Rules    []FilterRule `json:"rules"`
}

// FilterRule is one rule: all Matches must hold, then Verdict.
type FilterRule struct {
	Handle  uint64  `json:"handle,omitempty"`
	Matches []Match `json:"matches,omitempty"`
	// Verdict is "accept", "drop", "reject", "return", "jump", "goto", "queue", "notrack", "dnat", "redirect", "snat",
	// "masquerade", "mark", "tos" (the packet's DSCP or TOS is set), or "" when the rule only counts, logs or the like.
	Verdict string `json:"verdict,omitempty"`
	Target  string `json:"target,omitempty"` // chain of a jump or goto
	// Opaque says that the rule has an expression this program does not understand: its effect is unknown.
	Opaque  bool   `json:"opaque,omitempty"`
	Packets uint64 `json:"packets,omitempty"`
	Bytes   uint64 `json:"bytes,omitempty"`
	Counted bool   `json:"counted,omitempty"` // Packets and Bytes are real
	Comment string `json:"comment,omitempty"` // nft's comment on the rule
	XTables bool   `json:"xtables,omitempty"` // it uses an extension of xtables, as rules of iptables-nft do
	Text    string `json:"text,omitempty"`    // as nft or iptables-save prints it, near enough for a person to find it
}

// Match is one condition. Values are alternatives: "80", "80-90", "10.0.0.0/8", "established".
type Match struct {
	// Field is spelled as nft spells it: "meta iifname", "meta oifname", "meta l4proto", "meta nfproto", "meta mark",
	// "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr", "tcp dport", "tcp sport", "udp dport", "th dport", "tcp flags",
	// "ct state", "icmp type", "ether saddr", "arp operation", "arp saddr ip", "arp daddr ip".
	Field  string   `json:"field"`
	Negate bool     `json:"negate,omitempty"`
	Values []string `json:"values,omitempty"`
	Set    string   `json:"set,omitempty"` // a named set instead of values
}

// Set is a named nftables set or verdict map.
type Set struct {
	Family   string   `json:"family"`
	Table    string   `json:"table"`
	Name     string   `json:"name"`
	Elements []string `json:"elements"`
	// Truncated says that the set has more elements than were read.
	Truncated bool `json:"truncated,omitempty"`
}
