package probes

import (
	"fmt"
	"strings"

	"lvstui/lvs"
)

// The columns of the drawing, one for each host of the path.
const (
	atClient, atRouter, atDirector, atRealServer = 10, 22, 34, 46
	drawingWidth                                 = atRealServer + 1
)

// breakAt is where in the drawing a stage breaks: on which of the three packets' ways, and in which column.
var breakAt = map[lvs.Stage]struct {
	lane   int // 0 SYN, 1 SYN-ACK, 2 ACK
	column int
	says   string
}{
	lvs.SynSent:         {0, atClient + 2, "the SYN does not leave the client"},
	lvs.VIPResolved:     {0, atRouter + 2, "the router finds nobody for the VIP, or the wrong host"},
	lvs.SynAtDirector:   {0, atDirector - 2, "the SYN does not arrive at the director"},
	lvs.SynScheduled:    {0, atDirector, "the director does not take the SYN for a virtual service"},
	lvs.SynForwarded:    {0, atDirector + 2, "the director does not send the SYN on as it should"},
	lvs.SynAtRealServer: {0, atRealServer - 2, "the SYN does not arrive at the real server"},
	lvs.SynAccepted:     {0, atRealServer, "the real server does not take the SYN"},
	lvs.SynAckSent:      {1, atRealServer - 2, "the SYN-ACK does not leave the real server as it should"},
	lvs.SynAckAtClient:  {1, (atClient + atRouter) / 2, "the SYN-ACK does not reach the client"},
	lvs.AckAtDirector:   {2, atDirector - 2, "the client's ACK does not come through the director"},
	lvs.Established:     {2, atRealServer - 2, "what the client sends does not reach the same real server"},
}

// Drawing shows the way of a handshake, by direct routing past the director on its way back, up to where a stage breaks. It is plain ASCII,
// its lines are indented by four spaces.
func Drawing(stage lvs.Stage) string {
	at, ok := breakAt[stage]
	if !ok {
		return ""
	}
	var b strings.Builder
	b.WriteString("    " + header() + "\n")
	for lane, name := range []string{"SYN", "SYN-ACK", "ACK"} {
		if lane > at.lane {
			break
		}
		end := -1
		if lane == at.lane {
			end = at.column
		}
		b.WriteString("    " + strings.TrimRight(way(name, lane == 1, end), " ") + "\n")
	}
	fmt.Fprintf(&b, "    X %s: %s\n", stage, at.says)
	return b.String()
}

func header() string {
	line := []byte(strings.Repeat(" ", drawingWidth+6))
	for _, host := range []struct {
		column int
		name   string
	}{{atClient, "client"}, {atRouter, "router"}, {atDirector, "director"}, {atRealServer, "real server"}} {
		copy(line[host.column-len(host.name)/2:], host.name)
	}
	return strings.TrimRight(string(line), " ")
}

// way draws one packet's way, from the client to the real server or back, up to the column end, or whole when that is negative.
func way(name string, back bool, end int) string {
	line := []byte(strings.Repeat(" ", drawingWidth))
	copy(line, name)
	from, to, step, head := atClient, atRealServer, 1, byte('>')
	stops := []int{atClient, atRouter, atDirector, atRealServer}
	if back {
		from, to, step, head = atRealServer, atClient, -1, '<'
		stops = []int{atRealServer, atRouter, atClient} // past the director
	}
	for column := from; column != to+step; column += step {
		line[column] = '-'
		for i, stop := range stops {
			if column == stop {
				line[column] = 'o'
			} else if i > 0 && column == stop-step {
				line[column] = head
			}
		}
		if column == end {
			line[column] = 'X'
			break
		}
	}
	return string(line)
}
