package capture

import "lvstui/lvs"

// Clue is what the frames of a failed flow show beside the stage. It narrows the suspects.
type Clue uint16

const (
	RSTOut            Clue = 1 << iota // this host sent the RST
	RSTIn                              // the RST came in
	ICMPNoService                      // ICMP port or protocol unreachable
	ICMPProhibited                     // ICMP administratively prohibited
	ICMPUnreachable                    // ICMP host or net unreachable
	ICMPTimeExceeded                   // ICMP time exceeded in transit
	SentBackToSender                   // the SYN left to the MAC it had come from
	Looping                            // the same SYN came in again with a smaller TTL
	ForwardedOn                        // a real server sent the SYN out again
	ReplyToSynSender                   // the SYN-ACK left to the MAC that had sent the SYN
	ReplyAtDirector                    // the SYN-ACK came in at the director
	ReplyOnLoopback                    // the SYN-ACK was on lo
	AnsweredByAnother                  // ARP: more than one MAC answers for the VIP
	AnsweredElsewhere                  // the SYN-ACK came from another address than the VIP
	DatagramElsewhere                  // the same of a reply over UDP
	Readdressed                        // the same SYN was seen with another destination address
)

// clues reads from the frames and from ARP what narrows the suspects.
func (t *Tracker) clues(j *judgement) Clue {
	var c Clue
	r := j.r
	set := func(clue Clue, when bool) {
		if when {
			c |= clue
		}
	}
	set(RSTOut, j.out(clsRSTv).set && !j.in(clsRSTv).set)
	set(RSTIn, j.in(clsRSTv).set)
	complaint := r.complaint()
	set(ICMPNoService, complaint == noService)
	set(ICMPProhibited, complaint == prohibited)
	set(ICMPUnreachable, complaint == unreachable)
	set(ICMPTimeExceeded, complaint == timeExceeded)
	in, out := j.in(clsSYN), j.out(clsSYN)
	set(SentBackToSender, in.set && out.set && in.src != (MAC{}) && in.src == out.dst)
	set(Looping, r.looped > 0)
	set(ForwardedOn, j.vantage == lvs.RoleRealServer && in.set && out.set)
	reply := j.out(clsSYNACK)
	set(ReplyToSynSender, reply.set && in.set && in.src != (MAC{}) && reply.dst == in.src)
	set(ReplyOnLoopback, reply.set && t.names[reply.ifindex] == "lo")
	set(AnsweredByAnother, t.arp.answerers(r.virtual().Addr()) > 1)
	set(AnsweredElsewhere, r.has(answeredElsewhere) && !r.udp())
	set(DatagramElsewhere, r.has(answeredElsewhere) && r.udp())
	set(Readdressed, r.has(readdressed))
	set(ReplyAtDirector, j.vantage == lvs.RoleDirector && j.in(clsSYNACK).set)
	return c
}

// decoderRow is one row of the handshake-stage decoder: at this vantage and stage, with at least these clues,
// these are the likely failures.
type decoderRow struct {
	vantage  lvs.Vantage // "": any
	stage    lvs.Stage   // "": any
	clues    Clue
	suspects []string
}

// decoder holds the rows, most telling first. All rows that match count, in their order.
var decoder = []decoderRow{
	{"", "", AnsweredByAnother, []string{"rs-answers-arp", "vrrp-split-brain", "duplicate-vip", "proxy-arp-steals-vip"}},
	{"", "", AnsweredElsewhere, []string{"forward-method-not-dr"}},
	{"", "", DatagramElsewhere, []string{"udp-wrong-source", "forward-method-not-dr"}},
	{lvs.RoleDirector, lvs.SynAckSent, RSTIn, []string{"service-not-listening-on-vip", "port-mismatch", "rs-input-firewall"}},
	{lvs.RoleDirector, "", Readdressed, []string{"forward-method-not-dr"}},

	{lvs.RoleDirector, lvs.SynScheduled, RSTOut, []string{"service-not-in-ipvs", "non-syn-no-entry-after-failover", "wrong-netns", "fwmark-no-local-route"}},
	{lvs.RoleDirector, lvs.SynScheduled, ICMPNoService, []string{"no-available-dest", "overload-threshold"}},
	{lvs.RoleDirector, lvs.SynScheduled, ICMPProhibited, []string{"director-input-firewall"}},
	{lvs.RoleDirector, "", ICMPUnreachable, []string{"rs-neigh-failed", "director-arps-with-vip-source"}},
	{lvs.RoleDirector, "", Looping, []string{"director-loop", "rs-forwards-back", "rs-not-on-link"}},
	{lvs.RoleDirector, "", ICMPTimeExceeded, []string{"rs-not-on-link", "director-loop", "rs-forwards-back"}},
	{lvs.RoleDirector, "", SentBackToSender, []string{"rs-not-on-link"}},
	{lvs.RoleDirector, lvs.AckAtDirector, ReplyAtDirector, []string{"rs-gateway-is-director"}},
	{lvs.RoleDirector, lvs.SynForwarded, 0, []string{"director-input-firewall", "vrrp-strict-drop", "director-rp-filter-drops-client",
		"rs-neigh-failed", "director-output-firewall", "backup-only", "conntrack-table-full", "drop-packet-defence",
		"dest-removed-blackhole", "fwmark-no-local-route", "vip-not-on-director"}},
	{lvs.RoleDirector, lvs.SynAckSent, 0, []string{"rs-input-firewall", "rs-no-route-to-client", "rs-neigh-failed"}},
	{lvs.RoleDirector, lvs.AckAtDirector, 0, []string{"router-urpf-or-source-guard", "vip-missing-on-rs", "rs-rp-filter", "rs-no-route-to-client",
		"rs-gateway-is-director", "rs-input-firewall", "vip-prefix-on-lo", "rs-not-on-link", "forward-method-not-dr",
		"masquerade-postrouting", "stateful-firewall-asymmetric", "rs-policy-route", "vswitch-mac-security", "client-on-director"}},
	{lvs.RoleDirector, lvs.Established, 0, []string{"director-conntrack-invalid", "dest-removed-blackhole", "director-output-firewall"}},

	{lvs.RoleRealServer, lvs.SynAccepted, RSTOut, []string{"service-not-listening-on-vip", "port-mismatch", "rs-input-firewall"}},
	{lvs.RoleRealServer, lvs.SynAccepted, 0, []string{"rs-input-firewall", "service-not-listening-on-vip"}},
	{lvs.RoleRealServer, "", ForwardedOn, []string{"rs-forwards-back", "vip-missing-on-rs"}},
	{lvs.RoleRealServer, lvs.SynAckSent, 0, []string{"vip-missing-on-rs", "rs-rp-filter", "rs-input-firewall", "vip-prefix-on-lo",
		"rs-no-route-to-client", "backlog-full", "tw-recycle-paws"}},
	{lvs.RoleRealServer, lvs.SynAckAtClient, ReplyOnLoopback, []string{"vip-prefix-on-lo"}},
	{lvs.RoleRealServer, lvs.SynAckAtClient, ReplyToSynSender, []string{"rs-gateway-is-director", "rs-answers-arp", "rs-arp-announce-poison", "stale-router-arp"}},
	{lvs.RoleRealServer, lvs.SynAckAtClient, 0, []string{"router-urpf-or-source-guard", "rs-gateway-is-director", "rs-policy-route", "vswitch-mac-security",
		"cloud-no-l2", "stateful-firewall-asymmetric", "router-dnat-other-gateway", "client-on-director"}},

	{lvs.RoleRouter, lvs.VIPResolved, ICMPUnreachable, []string{"vip-not-on-director", "no-route-to-vip-on-router", "director-arp-ignore-2",
		"vip-on-lo-director-arp-ignore", "director-rp-filter-kills-arp"}},
	{lvs.RoleRouter, lvs.VIPResolved, 0, []string{"no-route-to-vip-on-router", "vip-not-on-director", "director-arp-ignore-2",
		"director-rp-filter-kills-arp", "vip-on-lo-director-arp-ignore", "stateful-firewall-asymmetric"}},
	{lvs.RoleRouter, lvs.SynAckSent, RSTIn, []string{"service-not-in-ipvs", "service-not-listening-on-vip", "port-mismatch"}},
	{lvs.RoleRouter, lvs.SynAckSent, ICMPNoService, []string{"no-available-dest"}},
	{lvs.RoleRouter, lvs.SynAckSent, ICMPUnreachable, []string{"rs-neigh-failed"}},
	{lvs.RoleRouter, lvs.SynAckSent, 0, []string{"vip-missing-on-rs", "director-input-firewall", "rs-gateway-is-director", "rs-rp-filter",
		"rs-no-route-to-client", "stale-router-arp", "rs-input-firewall", "rs-policy-route"}},
	{lvs.RoleRouter, lvs.SynAckAtClient, 0, []string{"router-urpf-or-source-guard", "stateful-firewall-asymmetric"}},
	{lvs.RoleRouter, lvs.AckAtDirector, 0, []string{"stateful-firewall-asymmetric", "router-dnat-other-gateway"}},
	{lvs.RoleRouter, lvs.Established, 0, []string{"director-conntrack-invalid", "stateful-firewall-asymmetric"}},

	{lvs.RoleClient, lvs.SynAckAtClient, RSTIn, []string{"service-not-in-ipvs", "service-not-listening-on-vip", "port-mismatch", "rs-input-firewall"}},
	{lvs.RoleClient, lvs.SynAckAtClient, ICMPNoService, []string{"no-available-dest"}},
	{lvs.RoleClient, lvs.SynAckAtClient, ICMPProhibited, []string{"director-input-firewall", "rs-input-firewall"}},
	{lvs.RoleClient, lvs.SynAckAtClient, ICMPUnreachable, []string{"rs-neigh-failed", "vip-not-on-director", "no-route-to-vip-on-router", "director-arps-with-vip-source"}},
	{lvs.RoleClient, lvs.SynAckAtClient, ICMPTimeExceeded, []string{"rs-not-on-link", "director-loop", "rs-forwards-back"}},
	{lvs.RoleClient, lvs.SynAckAtClient, 0, []string{"vip-missing-on-rs", "router-urpf-or-source-guard", "director-input-firewall", "rs-gateway-is-director",
		"rs-rp-filter", "vip-not-on-director", "rs-no-route-to-client", "stale-router-arp"}},
	{lvs.RoleClient, lvs.Established, 0, []string{"director-conntrack-invalid", "stateful-firewall-asymmetric", "pmtu-blackhole"}},
}

// Suspects lists ids of the failure catalogue for a flow that is stalled or refused, most likely first. A
// clue that names a cause outright leaves no room for the general list of the stage.
func Suspects(f *Flow, clues Clue) []string {
	if f.Outcome != Stalled && f.Outcome != Refused {
		return nil
	}
	var list []string
	for _, row := range decoder {
		switch {
		case row.vantage != "" && row.vantage != f.Vantage, row.stage != "" && row.stage != f.StalledAt, clues&row.clues != row.clues:
			continue
		case row.clues == 0 && len(list) > 0 && clues&decisive != 0:
			continue
		}
		for _, id := range row.suspects {
			list = appendNew(list, id)
		}
	}
	return list
}

// decisive clues exclude silence: whoever answers with a RST or an ICMP error was reached.
const decisive = RSTOut | RSTIn | ICMPNoService | ICMPProhibited | ICMPUnreachable | ICMPTimeExceeded

func appendNew(list []string, id string) []string {
	for _, x := range list {
		if x == id {
			return list
		}
	}
	return append(list, id)
}
