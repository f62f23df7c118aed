package collect

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"strings"

	"lvstui/lvs"
)

// Redact returns a copy of s without public addresses, hardware addresses and host names. See Redactor.
func Redact(s *lvs.Snapshot) *lvs.Snapshot { return NewRedactor().Snapshot(s) }

// Redactor replaces public addresses, hardware addresses and host names by others: equal ones by equal ones, and
// addresses that share a prefix by addresses that share a prefix of the same length, so that routes and subnets keep
// their meaning. Private, loopback, link-local and documentation addresses stay as they are, and so do VRRP's
// well-known hardware addresses. One Redactor for several hosts keeps them comparable. There is no way back:
// the key is random and forgotten.
type Redactor struct {
	key   []byte
	addrs map[netip.Addr]netip.Addr
	macs  map[string]string
	hosts map[string]string
}

// NewRedactor makes a Redactor with a key of its own.
func NewRedactor() *Redactor {
	r := &Redactor{key: make([]byte, 32), addrs: map[netip.Addr]netip.Addr{}, macs: map[string]string{}, hosts: map[string]string{}}
	rand.Read(r.key) // never fails
	return r
}

// Snapshot returns a redacted copy.
func (r *Redactor) Snapshot(s *lvs.Snapshot) *lvs.Snapshot {
	c := s.Clone()
	host := c.Host
	if host != "" && r.hosts[host] == "" {
		r.hosts[host] = fmt.Sprintf("host%d", len(r.hosts)+1)
	}
	for i := range c.Files {
		c.Files[i].Text = withoutPeople(c.Files[i].Text)
	}
	r.walk(reflect.ValueOf(c).Elem())
	c.Host = r.hosts[host]
	return c
}

var (
	comment = regexp.MustCompile(`(?m)^([\t ]*[#;!]).*$`)
	mailbox = regexp.MustCompile(`[\w.+-]+@[\w.-]+`)
)

// withoutPeople takes comments and mail addresses out of a configuration file.
func withoutPeople(text string) string {
	return mailbox.ReplaceAllString(comment.ReplaceAllString(text, "$1"), "somebody@example.net")
}

var (
	typeAddr     = reflect.TypeFor[netip.Addr]()
	typeAddrPort = reflect.TypeFor[netip.AddrPort]()
	typePrefix   = reflect.TypeFor[netip.Prefix]()
)

// walk replaces in place whatever v holds, so that a field added to Snapshot cannot be forgotten here.
func (r *Redactor) walk(v reflect.Value) {
	switch v.Type() {
	case typeAddr:
		v.Set(reflect.ValueOf(r.addr(v.Interface().(netip.Addr))))
		return
	case typeAddrPort:
		ap := v.Interface().(netip.AddrPort)
		v.Set(reflect.ValueOf(netip.AddrPortFrom(r.addr(ap.Addr()), ap.Port())))
		return
	case typePrefix:
		v.Set(reflect.ValueOf(r.prefix(v.Interface().(netip.Prefix))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(r.text(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			r.walk(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				r.walk(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			r.walk(v.Index(i))
		}
	case reflect.Map: // of strings and numbers; keys are names of the kernel's
		for _, k := range v.MapKeys() {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(v.MapIndex(k))
			r.walk(e)
			v.SetMapIndex(k, e)
		}
	}
}

// keptBits is how many leading bits of an address stay: all of one that is not public, and of a public one enough
// that its replacement is public too.
func keptBits(ip netip.Addr) int {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return ip.BitLen()
	}
	for _, p := range specialNetworks {
		if p.Contains(ip) {
			return ip.BitLen()
		}
	}
	if ip.Is6() {
		return 16
	}
	switch ip.As4()[0] {
	case 100, 172:
		return 16 // parts of these are private or shared
	case 169, 192, 198, 203:
		return 24
	}
	return 8
}

var specialNetworks = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("64:ff9b::/96"),
}

// addr maps an address. Whether a bit is flipped depends on the bits before it and the key only, which is what
// keeps prefixes together.
func (r *Redactor) addr(ip netip.Addr) netip.Addr {
	if !ip.IsValid() {
		return ip
	}
	if ip.Is4In6() {
		return netip.AddrFrom16(r.addr(ip.Unmap()).As16())
	}
	if ip.IsLinkLocalUnicast() && ip.Is6() {
		return r.linkLocal(ip)
	}
	if to, ok := r.addrs[ip]; ok {
		return to
	}
	b := ip.AsSlice()
	for i := keptBits(ip); i < len(b)*8; i++ {
		before, _ := ip.WithZone("").Prefix(i)
		mac := hmac.New(sha256.New, r.key)
		mac.Write([]byte(before.String()))
		if mac.Sum(nil)[0]&1 != 0 {
			b[i/8] ^= 0x80 >> (i % 8)
		}
	}
	out, _ := netip.AddrFromSlice(b)
	r.addrs[ip] = out.WithZone(ip.Zone())
	return r.addrs[ip]
}

// linkLocal maps a link-local IPv6 address that was made of a hardware address (EUI-64) along with that.
func (r *Redactor) linkLocal(ip netip.Addr) netip.Addr {
	b := ip.As16()
	if b[11] != 0xff || b[12] != 0xfe {
		return ip
	}
	mac := net.HardwareAddr{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}
	to, err := net.ParseMAC(r.mac(mac.String()))
	if err != nil {
		return ip
	}
	b[8], b[9], b[10], b[13], b[14], b[15] = to[0]^2, to[1], to[2], to[3], to[4], to[5]
	return netip.AddrFrom16(b).WithZone(ip.Zone())
}

func (r *Redactor) prefix(p netip.Prefix) netip.Prefix {
	if !p.IsValid() || p.Bits() == 0 {
		return p
	}
	out := netip.PrefixFrom(r.addr(p.Addr()), p.Bits())
	if p == p.Masked() && !p.IsSingleIP() {
		return out.Masked()
	}
	return out
}

// mac maps a hardware address to a locally administered one. Those with a meaning of their own stay: zero,
// broadcast and multicast, and VRRP's.
func (r *Redactor) mac(mac string) string {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 || mac == "00:00:00:00:00:00" || strings.HasPrefix(mac, "00:00:5e:00:0") {
		return mac
	}
	if r.macs[mac] == "" {
		n := binary.BigEndian.AppendUint32(nil, uint32(len(r.macs)+1))
		r.macs[mac] = net.HardwareAddr{2, 0, n[0], n[1], n[2], n[3]}.String()
	}
	return r.macs[mac]
}

var (
	macPattern  = regexp.MustCompile(`\b[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\b`)
	ip4Pattern  = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?\b`)
	ip6Pattern  = regexp.MustCompile(`[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}(/\d{1,3})?`)
	wordPattern = regexp.MustCompile(`[A-Za-z0-9_.-]+`)
)

// text replaces addresses and host names inside words for people.
func (r *Redactor) text(s string) string {
	s = macPattern.ReplaceAllStringFunc(s, func(m string) string { return r.mac(strings.ToLower(m)) })
	for _, pattern := range []*regexp.Regexp{ip4Pattern, ip6Pattern} {
		s = pattern.ReplaceAllStringFunc(s, func(m string) string {
			if ip, err := netip.ParseAddr(m); err == nil {
				return r.addr(ip).String()
			}
			if p, err := netip.ParsePrefix(m); err == nil {
				return r.prefix(p).String()
			}
			return m
		})
	}
	if !strings.Contains(s, " ") {
		return s // not a sentence: a host may be named like an interface or a protocol
	}
	return wordPattern.ReplaceAllStringFunc(s, func(m string) string {
		if to, ok := r.hosts[m]; ok {
			return to
		}
		return m
	})
}
