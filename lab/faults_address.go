package lab

// addressFaults concern the VIP on rs2 and the socket that serves it.
var addressFaults = []Fault{
	{
		ID: "vip-missing-on-rs", Title: "rs2 does not have the VIP", Topologies: onOneWire, Host: RealServer2,
		Expect: Expectation{
			Client: PartlyServed, Lost: TimedOut,
			Findings: []ExpectedFinding{{RealServer2, "vip-missing-on-rs", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-forwarded", StalledAt: "ack-at-director"},
				{Host: RealServer2, Reached: "syn-at-real-server", StalledAt: "syn-ack-sent"},
			},
			Counters: []ExpectedCounter{{RealServer2, "Ip.InAddrErrors"}},
		},
		inject: func(l *Lab, u *undo) error {
			return u.delAddress(l.Host(RealServer2), "lo", l.VIP()+"/32")
		},
	},
	{
		// The client is outside the prefix. In topology single it is hit all the same: director and router are
		// inside, so rs2 takes their ARP requests for its own and does not answer them.
		ID: "vip-prefix-on-lo", Title: "rs2 has the VIP on lo with the whole subnet", Topologies: []Topology{Single}, Host: RealServer2,
		Expect: Expectation{
			Client: PartlyServed, Lost: Unreachable,
			Findings: []ExpectedFinding{{RealServer2, "vip-prefix-on-lo", "certain", false}, {Director, "rs-neigh-failed", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-at-director", StalledAt: "syn-forwarded"},
				{Host: RealServer2},
			},
		},
		inject: func(l *Lab, u *undo) error {
			if err := u.moveAddress(l.Host(RealServer2), l.VIP()+"/32", "lo", l.VIP()+"/24", "lo"); err != nil {
				return err
			}
			return l.Host(Director).forgetNeighbour(l.lanNIC(Director), RIP2)
		},
	},
	{
		ID: "service-not-listening-on-vip", Title: "the web server of rs2 listens on its RIP only", Topologies: onOneWire, Host: RealServer2,
		Expect: Expectation{
			Client: PartlyServed, Lost: Refused,
			Findings: []ExpectedFinding{{RealServer2, "service-not-listening-on-vip", "certain", false}},
			Flows: []ExpectedFlow{
				{Host: Client, Reached: "syn-sent", StalledAt: "syn-ack-at-client"},
				{Host: Director, Reached: "syn-forwarded", StalledAt: "ack-at-director"},
				{Host: RealServer2, Reached: "syn-at-real-server", StalledAt: "syn-accepted"},
			},
			Counters: []ExpectedCounter{{RealServer2, "Tcp.OutRsts"}},
		},
		inject: func(l *Lab, u *undo) error {
			u.with(func() error { return l.listenOn(RealServer2, "0.0.0.0") })
			return l.listenOn(RealServer2, RIP2.String())
		},
	},
}

// listenOn starts the web server of a real server anew, bound to an address.
func (l *Lab) listenOn(server, address string) error {
	l.web[server].stop()
	w, err := serveWeb(l.Host(server), address)
	if err != nil {
		return err
	}
	l.web[server] = w
	return nil
}
