package rules

import (
	"lvstui/lvs"
	"lvstui/probes"
)

// This file holds the pages of what breaks outside of every host that lvstui can look at. Nobody judges them: a flow that stalls names them, and
// the page says which experiment tells them from what looks alike.

var _ = suspect(probes.Rule{
	ID:    "vswitch-mac-security",
	Title: "a virtual switch drops frames for their source",
	Stage: lvs.SynAckAtClient,
	Explain: probes.Explain{
		Breaks: `The port of a virtual machine may only use the addresses that the platform gave it. ESXi refuses "forged transmits" and "MAC address changes", which a VRRP virtual MAC needs. OpenStack's port
security drops packets whose source is not the port's own address: a director's traffic for the VIP, and every answer of a real server, which has the VIP as source. The packet leaves the virtual machine,
and is never on the wire.`,
		ByHand: `On the real server the SYN-ACK leaves, and again, and again:

    tcpdump -eni eth0 'src host 172.16.0.8 and tcp[tcpflags] & tcp-syn != 0'

On the router nothing of it comes in.`,
		Apart: `Ask twice from the real server, once with its own address and once with the VIP, and listen on the router (or on another virtual machine of the segment):

    ping -c 3 -I 192.168.10.11 ROUTER
    ping -c 3 -I 172.16.0.8 ROUTER
    tcpdump -eni eth0 icmp

If the second does not arrive there at all, something between the two drops it for its source: the virtual switch. If it arrives, the router drops it: router-urpf-or-source-guard.`,
		Cure: `Let the port use the VIP. With OpenStack, for the director and for every real server:

    openstack port set --allowed-address ip-address=172.16.0.8 PORT

With ESXi accept forged transmits and MAC changes on the port group, or do without use_vmac. With Proxmox and libvirt take the VIP into the IP filter (ipset ipfilter-net0, clean-traffic).`,
		Source: "OpenStack Neutron, allowed address pairs; VMware vSphere Security, Securing vSphere Standard Switches.",
	},
})

var _ = suspect(probes.Rule{
	ID:    "cloud-no-l2",
	Title: "the network of the cloud carries no frames, only packets for known addresses",
	Stage: lvs.SynAtRealServer,
	Explain: probes.Explain{
		Breaks: `Direct routing hands a packet for the VIP to the MAC of a real server. The networks of AWS, Azure, Google and others look like a segment and are none: they carry a packet to whoever owns its destination
address, whatever the MAC. What the director sends to a real server is dropped, or comes back to the owner of the VIP. Answers with the VIP as source are dropped as well, unless the check is switched off.`,
		ByHand: `On the director the SYN leaves with a MAC that all neighbours share, and on the real server it does not arrive:

    ip neigh show
    tcpdump -eni eth0 host 172.16.0.8`,
		Apart: `Send one frame for the VIP to the real server's MAC by hand and listen there: on the director

    ip neigh show 192.168.10.11
    ip route get 192.168.10.11

On a segment that is one, every host has a MAC of its own. If all neighbours have the same, or an address such as 12:34:56:78:9a:bc or fe:ff:ff:ff:ff:ff, the platform answers for all of them, and direct routing can not work as it is.`,
		Cure: `Use a tunnel (ipvsadm -e … -i) or masq, or the load balancer of the platform. On AWS switch the source/destination check off on the director and on every real server, in one subnet:

    aws ec2 modify-instance-attribute --no-source-dest-check --instance-id ID`,
		Source: "AWS VPC user guide, source/destination checks; Google Cloud VPC, packet mirroring and forwarding; the platforms' notes on virtual IP addresses.",
	},
})

var _ = suspect(probes.Rule{
	ID:    "vlan-mismatch-or-isolation",
	Title: "director and real server are in different VLANs, or kept apart",
	Stage: lvs.SynForwarded,
	Explain: probes.Explain{
		Breaks: `The director asks for the real server's MAC, and nobody answers: the two are in different VLANs, on ports of a private VLAN, or on an access point that isolates its clients. The client is told "no route to host" after
three seconds. From the director it looks just like a real server that is down.`,
		ByHand: `    tcpdump -eni eth0 arp and host 192.168.10.11

Requests and no reply.`,
		Apart: `Log in to the real server over another way and listen for the director's requests:

    tcpdump -eni eth0 arp
    arping -c 3 -I eth0 192.168.10.2

If the requests arrive and are not answered, the real server is to blame (arp_ignore, arptables, or it refuses the asker's address). If they do not arrive, the switch is.`,
		Cure:   `Put both ports into one VLAN, tagged on both sides or on neither, and out of isolation (private VLAN, protected port, AP isolation).`,
		Source: "IEEE 802.1Q; RFC 5517, private VLANs.",
	},
})

var _ = suspect(probes.Rule{
	ID:    "foreign-os-real-server",
	Title: "a real server that is no Linux takes no packets for an address of its loopback",
	Stage: lvs.SynAccepted,
	Explain: probes.Explain{
		Breaks: `Windows has been a strong host since 2008: it takes a packet only on the adapter that has its destination, and answers only over that adapter. A VIP on the loopback adapter is never served, and the firewall
looks at that adapter's profile on top. BSD answers ARP for addresses of lo0 on some versions.`,
		ByHand: `The SYN arrives at the real server, and nothing leaves; health checks of its own address are green.

    netsh interface ipv4 show interface`,
		Apart: `Capture on the real server (pktmon, Wireshark): if the SYN for the VIP is there and no answer, it is this or the firewall. With the firewall off for a moment:

    netsh advfirewall set allprofiles state off`,
		Cure: `On Windows, for both adapters by their names:

    netsh interface ipv4 set interface "Ethernet" weakhostreceive=enabled
    netsh interface ipv4 set interface "loopback" weakhostreceive=enabled weakhostsend=enabled

and a firewall rule that lets the service's port in on all profiles.`,
		Source: "Microsoft, Strong and Weak Host Models; RFC 1122, 3.3.4.2.",
	},
})

var _ = suspect(probes.Rule{
	ID:    "v6-router-neigh",
	Title: "the switch does not pass neighbour solicitations for the IPv6 VIP",
	Stage: lvs.VIPResolved,
	Explain: probes.Explain{
		Breaks: `A router looks for an IPv6 VIP by a multicast to the address's solicited-node group. A switch with MLD snooping passes that only to ports from which it has heard a report, and without a querier on the segment
reports are not asked for again: some minutes after the director came up the VIP can not be found any more. Pinging it from the same segment, or adding it anew, helps for a while.`,
		ByHand: `On the director solicitations for the VIP do not arrive while the router asks:

    tcpdump -eni eth0 'icmp6 and ip6[40] == 135'
    ip -6 maddr show dev eth0`,
		Apart: `Let the director send a report by adding the address anew, and see whether it is found for a while:

    ip -6 addr del 2001:db8::8/128 dev eth0; ip -6 addr add 2001:db8::8/128 dev eth0

If that helps for some minutes, it is the snooping. If it never helps, look at vip-not-on-director.`,
		Cure:   `Have an MLD querier on the segment (on the router, or on the switch), or switch MLD snooping off there.`,
		Source: "RFC 4861, 7.2.2; RFC 4541, section 3.",
	},
})

var _ = suspect(probes.Rule{
	ID:    "checksum-offload-capture",
	Title: "wrong checksums in a capture, which are none",
	Stage: lvs.SynAckSent,
	Explain: probes.Explain{
		Breaks: `Nothing. A card that computes checksums itself is handed packets without one, and a capture on the sending host sees them before the card does. So a SYN-ACK that leaves shows a wrong checksum, and frames may be larger than
the MTU, because the card cuts them up as well.`,
		ByHand: `    ethtool -k eth0
    tcpdump -vvni eth0 'src host 172.16.0.8'

shows "incorrect" for what leaves and "correct" for what comes in.`,
		Apart:  `Capture the same packet on the receiving host. Only a checksum that is wrong there is wrong.`,
		Cure:   `Nothing is to be done. To see true checksums in a capture, switch the offload off for as long as it takes: ethtool -K eth0 tx off.`,
		Source: "Documentation/networking/checksum-offloads.rst.",
	},
})

var _ = suspect(probes.Rule{
	ID:    "v6-vip-on-lo",
	Title: "an IPv6 VIP on lo without ARP sysctls, which is right",
	Stage: lvs.VIPResolved,
	Explain: probes.Explain{
		Breaks: `Nothing. IPv6 answers neighbour solicitations only for addresses of the interface that is asked, and asks with an address of the interface that it asks on. A VIP on a real server's lo is silent by itself: IPv6
has nothing like arp_ignore and arp_announce, and needs neither. The exception is a real server with forwarding=1 and proxy_ndp=1 and an entry for the VIP.`,
		ByHand: `    ip -6 -o address show to 2001:db8::8
    ip -6 neigh show proxy`,
		Apart:  `Ask from a third host: ndisc6 2001:db8::8 eth0. One answer, from the director, is right.`,
		Cure:   `Nothing is to be done.`,
		Source: "net/ipv6/ndisc.c, ndisc_recv_ns and ndisc_send_ns.",
	},
})

var _ = suspect(probes.Rule{
	ID:    "vmac-sideeffects",
	Title: "keepalived's virtual MAC, and what it changes beside",
	Stage: lvs.VIPResolved,
	Explain: probes.Explain{
		Breaks: `With use_vmac the VIP is answered for with the MAC 00:00:5e:00:01:VRID, on a macvlan of its own, and what the director sends to the real servers still carries its card's own MAC. Both are right: real servers see SYNs from another MAC than
the one that answers for the VIP. keepalived sets net.ipv4.conf.all.rp_filter to 0 for it and moves the old value to the interfaces, and a virtual switch that allows one MAC for each port stops it.`,
		ByHand: `    ip -details link show type macvlan
    ip neigh show 172.16.0.8     on the router: 00:00:5e:00:01:xx
    sysctl net.ipv4.conf.all.rp_filter`,
		Apart:  `Do without use_vmac for a moment: if clients are served then, the switch does not like the second MAC (vswitch-mac-security).`,
		Cure:   `Nothing is to be cured where it works. vmac_xmit_base keeps VRRP itself on the card's own MAC, for switches that mind.`,
		Source: "keepalived.conf(5), use_vmac; RFC 5798, 7.3.",
	},
})
