package file

import (
	"net/netip"
	"strconv"
	"strings"

	"lvstui/capture"
)

// parse reads one record. It is false if the record is not of a packet that can be understood.
//
//	13:22:28.360656 eth0 In ifindex 2 00:0c:29:6d:1a:7d > 00:0c:29:21:59:d7, ethertype IPv4 (0x0800), length 74:
//	(tos 0x0, ttl 64, id 1, …) 188.88.88.10.49672 > 172.16.0.8.80: Flags [S], seq 448411585, win 29200, length 0
func (s *textSource) parse(rec string, p *capture.Packet) bool {
	*p = capture.Packet{}
	t, rest, ok := s.clock.read(rec)
	if !ok {
		return false
	}
	p.Time = t
	rest = s.parseCooked(rest, p)
	rest = parseLink(rest, p)
	rest = strings.TrimPrefix(rest, "ARP, ")
	rest = strings.TrimPrefix(rest, "Ethernet (len 6), IPv4 (len 4), ") // -v
	if strings.HasPrefix(rest, "Request who-has ") || strings.HasPrefix(rest, "Reply ") {
		return parseARP(rest, p)
	}
	rest, ok = parseEnds(rest, p)
	if ok && p.SrcPort == 0 && p.DstPort == 0 { // of a tunnel both headers are printed
		inner := *p
		if after, nested := parseEnds(rest, &inner); nested {
			inner.Tunnel, inner.OuterDst = true, p.Dst
			*p, rest = inner, after
		}
	}
	return ok && s.parseTransport(rest, p)
}

// parseEnds reads an IP header: "IP (tos …) 188.88.88.10.49672 > 172.16.0.8.80: ", of which -e leaves out the first word.
func parseEnds(line string, p *capture.Packet) (rest string, ok bool) {
	rest = parseHeaderNotes(strings.TrimPrefix(strings.TrimPrefix(line, "IP6 "), "IP "), p)
	src, rest, ok1 := strings.Cut(rest, " > ")
	dst, rest, ok2 := strings.Cut(rest, ": ")
	if !ok1 || !ok2 {
		return "", false
	}
	p.Src, p.SrcPort, ok1 = parseEnd(src)
	p.Dst, p.DstPort, ok2 = parseEnd(dst)
	return rest, ok1 && ok2 && p.Src.Is4() == p.Dst.Is4()
}

// parseCooked takes off what tcpdump -i any prints first: interface, direction and index.
func (s *textSource) parseCooked(line string, p *capture.Packet) string {
	first, rest := nextWord(line)
	name := ""
	if !isDirection(first) {
		var second string
		name = first
		if second, rest = nextWord(rest); !isDirection(second) {
			return strings.TrimLeft(line, " \t")
		}
		first = second
	}
	p.Dir = capture.In
	if first == "Out" {
		p.Dir = capture.Out
	}
	if name != "" {
		p.Interface = s.interfaceID(name)
	}
	if word, after := nextWord(rest); word == "ifindex" {
		_, rest = nextWord(after)
	}
	return strings.TrimLeft(rest, " \t")
}

// isDirection knows the words of tcpdump: in, out, and received broadcast, multicast and promiscuous frames.
func isDirection(w string) bool {
	return w == "In" || w == "Out" || w == "B" || w == "M" || w == "P"
}

// parseLink takes off what -e prints: MACs, ethertype, length of the frame, VLAN tags.
func parseLink(line string, p *capture.Packet) string {
	word, rest := nextWord(line)
	src, err := capture.ParseMAC(word)
	if err != nil {
		return line
	}
	p.SrcMAC = src
	if arrow, after := nextWord(skipVendor(rest)); arrow == ">" {
		word, rest = nextWord(after)
		rest = skipVendor(rest)
		if dst, err := capture.ParseMAC(strings.TrimSuffix(word, ",")); err == nil {
			p.DstMAC, p.HasMAC = dst, src != (capture.MAC{}) || dst != (capture.MAC{})
		}
	}
	link, rest, ok := strings.Cut(rest, ": ")
	if !ok {
		return rest
	}
	if n, ok := numberAfter(link, "length "); ok {
		p.WireLen = int32(min(n, 1<<30))
	}
	for strings.HasPrefix(rest, "vlan ") { // tag, priority, then the ethertype again
		n, _ := numberAfter(rest, "vlan ")
		p.VLAN = uint16(n & 0x0fff)
		i := strings.Index(rest, "ethertype ")
		if i < 0 {
			break
		}
		_, rest, _ = strings.Cut(rest[i:], ", ")
	}
	return rest
}

// skipVendor takes off "(oui Unknown)", which tcpdump without -n prints behind a MAC.
func skipVendor(s string) string {
	if trimmed := strings.TrimLeft(s, " "); strings.HasPrefix(trimmed, "(oui ") {
		if _, after, ok := strings.Cut(trimmed, ")"); ok {
			return after
		}
	}
	return s
}

// parseHeaderNotes takes off what -v prints of the IP header, in parentheses.
func parseHeaderNotes(line string, p *capture.Packet) string {
	line = strings.TrimLeft(line, " \t")
	if !strings.HasPrefix(line, "(") {
		return line
	}
	depth := 0
	for i, c := range []byte(line) {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth > 0 {
			continue
		}
		notes := line[:i]
		for _, key := range []string{"ttl ", "hlim "} {
			if n, ok := numberAfter(notes, key); ok {
				p.TTL = uint8(min(n, 255))
			}
		}
		if n, ok := numberAfter(notes, ", id "); ok && n <= 0xffff {
			p.IPID, p.HasIPID = uint16(n), true
		}
		return strings.TrimLeft(line[i+1:], " \t")
	}
	return line
}

// portNames are the names that tcpdump prints for ports without -nn, of services that are put behind virtual addresses.
var portNames = map[string]uint16{"ftp": 21, "ssh": 22, "smtp": 25, "domain": 53, "http": 80, "kerberos": 88, "pop3": 110, "imap2": 143, "ldap": 389,
	"https": 443, "submissions": 465, "submission": 587, "ldaps": 636, "imaps": 993, "pop3s": 995, "ms-sql-s": 1433, "mysql": 3306,
	"postgresql": 5432, "amqp": 5672, "redis": 6379, "http-alt": 8080, "webcache": 8080}

// parseEnd reads 172.16.0.8.80, 2001:db8::8.80, 172.16.0.8.http, an address alone.
func parseEnd(s string) (netip.Addr, uint16, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil {
		return a.WithZone("").Unmap(), 0, true
	}
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return netip.Addr{}, 0, false
	}
	a, err := netip.ParseAddr(s[:i])
	if err != nil {
		return netip.Addr{}, 0, false
	}
	a = a.WithZone("").Unmap()
	if port, ok := portNames[s[i+1:]]; ok {
		return a, port, true
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	return a, uint16(port), err == nil
}

func (s *textSource) parseTransport(rest string, p *capture.Packet) bool {
	switch {
	case strings.HasPrefix(rest, "Flags ["):
		return s.parseTCP(rest, p)
	case strings.HasPrefix(rest, "tcp "): // -q: neither flags nor numbers
		return false
	case strings.HasPrefix(rest, "UDP"):
		p.Kind, p.Proto = capture.UDP, 17
		if n, ok := numberAfter(rest, "length "); ok {
			p.PayloadLen = int32(min(n, 1<<20))
		}
	case strings.HasPrefix(rest, "ICMP"):
		p.Kind, p.Proto = capture.ICMP, 1 // the text does not quote the client's port: no flow can be found by it
	}
	return true
}

func (s *textSource) parseTCP(rest string, p *capture.Packet) bool {
	p.Kind, p.Proto = capture.TCP, 6
	flags, rest, ok := strings.Cut(strings.TrimPrefix(rest, "Flags ["), "]")
	if !ok {
		return false
	}
	p.Flags = parseFlags(flags)
	fields, hasSeq, hasAck := dropOptions(rest), false, false
	for field := range strings.SplitSeq(fields, ", ") {
		key, value, _ := strings.Cut(strings.TrimLeft(field, " ,"), " ")
		switch key {
		case "seq":
			from, to, ranged := strings.Cut(value, ":")
			n, ok := leading(from)
			if hasSeq || !ok {
				continue
			}
			p.Seq, hasSeq = uint32(n), true
			if end, ok := leading(to); ranged && ok {
				p.PayloadLen = int32(min(uint32(end)-uint32(n), 1<<20))
			}
		case "ack":
			if n, ok := leading(value); ok && !hasAck {
				p.Ack, hasAck = uint32(n), true
			}
		case "win":
			n, _ := leading(value)
			p.Window = uint16(min(n, 0xffff))
		case "length":
			if n, ok := leading(value); ok {
				p.PayloadLen = int32(min(n, 1<<20))
			}
		}
	}
	s.seqs.restore(p, hasSeq)
	return true
}

// dropOptions cuts "options […]" out: it holds commas of its own.
func dropOptions(s string) string {
	before, rest, ok := strings.Cut(s, "options [")
	if !ok {
		return s
	}
	_, after, _ := strings.Cut(rest, "]")
	return before + after
}

func parseFlags(s string) (f capture.TCPFlags) {
	const letters = "FSRP.UEW"
	if s == "none" {
		return 0
	}
	for i := range len(s) {
		if k := strings.IndexByte(letters, s[i]); k >= 0 {
			f |= 1 << k
		}
	}
	return f
}

// parseARP reads "Request who-has 172.16.0.8 (mac) tell 172.16.0.1" and "Reply 172.16.0.8 is-at mac".
func parseARP(rest string, p *capture.Packet) bool {
	p.Kind = capture.ARP
	if _, after, ok := strings.Cut(rest, "who-has "); ok {
		target, after, _ := strings.Cut(after, " ")
		_, sender, _ := strings.Cut(" "+after, " tell ")
		sender, _, _ = strings.Cut(sender, ",")
		sender, _, _ = strings.Cut(sender, " ")
		var err1, err2 error
		p.Dst, err1 = netip.ParseAddr(strings.TrimSuffix(target, ","))
		p.Src, err2 = netip.ParseAddr(sender)
		p.ARP.Op, p.ARP.SenderMAC = 1, p.SrcMAC
		return err1 == nil && err2 == nil
	}
	_, after, ok := strings.Cut(rest, "Reply ")
	owner, after, ok2 := strings.Cut(after, " is-at ")
	if !ok || !ok2 {
		return false
	}
	mac, _, _ := strings.Cut(after, ",")
	mac, _, _ = strings.Cut(mac, " ")
	var err1, err2 error
	p.Src, err1 = netip.ParseAddr(owner)
	p.ARP.SenderMAC, err2 = capture.ParseMAC(mac)
	p.Dst = netip.IPv4Unspecified() // a reply's target is not printed
	p.ARP.Op, p.ARP.TargetMAC = 2, p.DstMAC
	return err1 == nil && err2 == nil
}

// numberAfter reads the decimal number behind the first key.
func numberAfter(s, key string) (int64, bool) {
	_, after, ok := strings.Cut(s, key)
	if !ok {
		return 0, false
	}
	return leading(after)
}

// leading reads the decimal number at the front of s.
func leading(s string) (int64, bool) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return digits(s[:n])
}
