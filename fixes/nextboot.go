package fixes

import (
	"fmt"
	"slices"
	"strings"

	"lvstui/lvs"
)

// SysctlFile is where lvstui's sysctls for the next boot belong.
const SysctlFile = "/etc/sysctl.d/60-lvstui.conf"

// NextBoot says in words where the outcome of p has to be written to be there after a reboot, by who owns the configuration
// of the host. It writes nothing.
func NextBoot(p Plan, s *lvs.Snapshot) []string {
	after, err := p.After(s)
	if err != nil {
		return nil
	}
	var out []string
	for _, path := range changedSysctls(p, s, after) {
		line := SysctlLine(path, after.Sysctls[path])
		if file, owner := ownerFile(s, "sysctls"); file != "" {
			out = append(out, fmt.Sprintf("%s: %s (%s owns the sysctls)", file, line, owner))
			continue
		}
		out = append(out, SysctlFile+": "+line)
	}
	for _, st := range p.Steps {
		switch st := st.(type) {
		case AddAddress:
			if _, ok := addressOn(after, st.Device, st.Prefix); ok {
				out = append(out, fmt.Sprintf("%s: add %s to %s", addressPlace(s, st.Device), st.Prefix, st.Device))
			}
		case DelAddress:
			if _, ok := addressOn(after, st.Device, st.Prefix); !ok {
				out = append(out, fmt.Sprintf("%s: remove %s from %s, if it is there", addressPlace(s, st.Device), st.Prefix, st.Device))
			}
		case AddRoute, ReplaceRoute, DelRoute, AddRule, DelRule:
			out = append(out, "the routes and policy rules of this host, where its network configuration keeps them: as "+st.Command())
		}
	}
	for _, st := range p.Steps {
		out = append(out, otherPlace(st, s)...)
	}
	if slices.ContainsFunc(p.Steps, onIPVS) {
		out = append(out, tablePlace(s))
	}
	return out
}

// otherPlace says where the outcome of a step belongs that no file of ours can hold.
func otherPlace(st Step, s *lvs.Snapshot) []string {
	switch st := st.(type) {
	case LoadModule:
		return []string{"/etc/modules-load.d/ipvs.conf: " + st.Name}
	case SetTimeouts:
		if _, owner := ownerFile(s, "ipvs"); owner == "keepalived" {
			return []string{fmt.Sprintf("keepalived.conf, global_defs: lvs_timeouts tcp %d tcpfin %d udp %d", st.TCP, st.TCPFin, st.UDP)}
		}
		return []string{"where the table of ip_vs is filled at boot: " + st.Command() + " (ipvsadm-save does not save time-outs)"}
	case AddAccept:
		file, owner := ownerFile(s, "netfilter")
		if file == "" {
			return []string{"the file that loads the packet filter at boot, such as /etc/nftables.conf: the same rule at the head of the same chain"}
		}
		return []string{fmt.Sprintf("%s (%s): the same rule at the head of the same chain", file, owner)}
	case AddNeighbour:
		return []string{"where permanent neighbours of this host are configured: as " + st.Command()}
	}
	return nil
}

// onIPVS says that a step changes the table of ip_vs.
func onIPVS(st Step) bool {
	switch st.(type) {
	case AddService, EditService, DelService, AddDestination, EditDestination, DelDestination:
		return true
	}
	return false
}

// tablePlace says where the table of ip_vs is kept on this host.
func tablePlace(s *lvs.Snapshot) string {
	file, owner := ownerFile(s, "ipvs")
	switch {
	case file != "":
		return fmt.Sprintf("%s: the same there (%s owns the ip_vs table)", file, owner)
	case owner != "":
		return fmt.Sprintf("the configuration of %s, which owns the ip_vs table", owner)
	}
	return "the ip_vs table: ipvsadm-save -n into /etc/ipvsadm.rules (Debian) or /etc/sysconfig/ipvsadm (Red Hat), which ipvsadm's service reads"
}

// changedSysctls are the paths that end up with another value than before: a plan may set one for a while only.
func changedSysctls(p Plan, s, after *lvs.Snapshot) []string {
	var out []string
	for _, st := range p.Steps {
		if set, ok := st.(SetSysctl); ok && s.Sysctls[set.Path] != after.Sysctls[set.Path] && !slices.Contains(out, set.Path) {
			out = append(out, set.Path)
		}
	}
	return out
}

// SysctlLine is a line of sysctl.d. Where an interface's name has a dot the path is written with slashes (sysctl.d(5)).
func SysctlLine(path, value string) string {
	name := lvs.SysctlName(path)
	if strings.Contains(path, ".") {
		name = path
	}
	return name + " = " + strings.ReplaceAll(value, "\t", " ")
}

// addressPlace says where addresses of a device are kept on this host.
func addressPlace(s *lvs.Snapshot, device string) string {
	file, owner := ownerFile(s, "addresses")
	switch {
	case file != "":
		return file + " (" + owner + ")"
	case owner == "systemd-networkd":
		return "/etc/systemd/network/, the [Network] section of the file for " + device + ", Address="
	case owner == "NetworkManager":
		return "the NetworkManager connection of " + device + " (nmcli connection modify)"
	case owner == "netplan":
		return "/etc/netplan/, addresses of " + device
	case owner == "keepalived":
		return "keepalived.conf, virtual_ipaddress"
	case owner == "ifupdown":
		return "/etc/network/interfaces, iface " + device
	case owner != "":
		return "the configuration of " + owner
	}
	return "the network configuration of this host"
}

func ownerFile(s *lvs.Snapshot, what string) (file, owner string) {
	for _, o := range s.Owners {
		if slices.Contains(o.Owns, what) {
			return o.File, o.Name
		}
	}
	return "", ""
}
