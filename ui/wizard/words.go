package wizard

// Words are a question as a person is asked it: the sentence, and what helps to answer it.
func Words(q ID) (ask, help string) {
	switch q {
	case Role:
		return "What is this host to be?", "A cluster with direct routing has a director, and real servers that answer clients themselves."
	case VIP:
		return "Which address do clients use?", "The virtual address. On a director that has no other address in its subnet, with the prefix " +
			"length: 172.16.0.8/24. Else without."
	case Services:
		return "What do clients come for?", "Protocol and port, such as tcp/80 tcp/443. Direct routing does not change ports: real servers listen on the same."
	case RealServers:
		return "Who serves the clients?", "The real servers' own addresses, on a segment of this host; with a weight as in 192.168.10.11=2, else it is 1."
	case Scheduler:
		return "How are clients shared out?", "The scheduler of ip_vs."
	case Interface:
		return "On which interface will clients' packets arrive?", "The VIP goes there, and this host answers ARP for it there."
	case Gateway:
		return "Which router takes the answers to clients?", "Real servers answer clients themselves. The route is looked at and not changed."
	}
	return string(q), ""
}

// Other is how an answer that is not among the offers is chosen.
const OtherText = "something else, to be typed"
