package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"lvstui/lvs"
	"lvstui/probes/active"
	"lvstui/ui/kit"
)

// probe carries out the active tests from this host and writes what came of them into its snapshot. What is sent is said first.
func probe(ctx context.Context, s *lvs.Snapshot, tests []active.Test, opt checkOptions) error {
	plan := active.Prepare(s, tests, active.Options{VIPs: opt.vips, Interfaces: opt.interfaces})
	for _, line := range plan.Words() {
		if strings.HasPrefix(line, "(") || strings.HasPrefix(line, "and ") {
			note("  %s", line)
			continue
		}
		note("sending on %s", line)
	}
	for _, line := range plan.Left() {
		note("not tried: %s", line)
	}
	return thisMachine(func() (err error) {
		s.Probed, err = plan.Run(ctx)
		return err
	})
}

// printProbed writes what the active tests found for people.
func printProbed(w io.Writer, p *lvs.Probed) {
	if p == nil {
		return
	}
	if p.ARP != nil {
		fmt.Fprintln(w, "\nwho answers for the VIP")
	}
	for _, a := range p.ARP {
		fmt.Fprintf(w, "  %s on %s: %s\n", a.Address, kit.Clean(a.Device), answersText(a))
	}
	if p.DSR != nil {
		fmt.Fprintln(w, "\nwho takes a connection to the VIP")
	}
	for _, d := range p.DSR {
		fmt.Fprintf(w, "  %-21s %-21s %s\n", d.Virtual, d.RealServer, dsrText(d))
	}
}

func answersText(a lvs.ARPProbe) string {
	words := []string{}
	if a.Holds {
		words = append(words, "this host")
	}
	for _, m := range a.Answers {
		text := m.MAC
		if m.FromMAC != "" {
			text += " (sent by " + m.FromMAC + ")"
		}
		if m.Station.IsValid() {
			text += " (" + m.Station.String() + ")"
		}
		switch {
		case m.Ordinary == 0 && a.Sender.IsValid():
			text += ", but not when asked as a router asks"
		case m.DAD == 0 && a.Address.Is4():
			text += ", but not when asked without a sender"
		}
		words = append(words, text)
	}
	switch {
	case a.Error != "":
		words = append(words, kit.Clean(a.Error))
	case len(a.Answers) == 0 && a.Holds:
		words = append(words, "nobody else")
	case len(a.Answers) == 0:
		words = append(words, "nobody")
	}
	return strings.Join(words, "; ")
}

func dsrText(d lvs.DSRProbe) string {
	where := ""
	if d.MAC != "" {
		where = " (" + d.MAC + " on " + kit.Clean(d.Device) + ")"
	}
	text := string(d.Result) + where
	switch d.Result {
	case lvs.DSRAccepts:
		text += fmt.Sprintf(": SYN-ACK after %.2f ms", d.RTT)
	case lvs.DSRRefuses:
		text += ": RST: it has the VIP, and nothing listens there"
	case lvs.DSRForwards:
		text += ": it sent the SYN on: it does not have the VIP"
	case lvs.DSRProhibits:
		text += fmt.Sprintf(": ICMP type %d code %d", d.Type, d.Code)
	case lvs.DSRUnreachable:
		text += ": " + kit.Clean(d.Error)
	case lvs.DSRSilent:
		text += fmt.Sprintf(": %d SYNs and no answer", d.Sent)
		switch d.Direct {
		case lvs.DSRAccepts, lvs.DSRRefuses:
			text += fmt.Sprintf("; a SYN for %s it %s", d.RealServer, d.Direct)
		case lvs.DSRSilent:
			text += "; nor to one for its own address"
		}
	}
	if d.From != "" && d.MAC != "" && d.From != d.MAC {
		text += "; the answer came from " + d.From
	}
	return text
}
