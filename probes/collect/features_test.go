package collect

import (
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/lvs"
)

// What sees packets before ip_vs, and what drivers do to them, is read without being root's privilege or a change.
func TestFeaturesAndIngress(t *testing.T) {
	namespace(t)
	left := wire(t, "left")
	macvlan := &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "child", ParentIndex: left.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE}
	if err := netlink.LinkAdd(macvlan); err != nil {
		t.Fatal(err)
	}
	clsact := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: left.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(clsact); err != nil {
		t.Fatal(err)
	}
	filter := &netlink.MatchAll{FilterAttrs: netlink.FilterAttrs{LinkIndex: left.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions: []netlink.Action{&netlink.GenericAction{ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_OK}}}}
	if err := netlink.FilterAdd(filter); err != nil {
		t.Fatal(err)
	}
	s := look(t, Options{})
	link := func(name string) lvs.Link {
		l, ok := s.Link(name)
		if !ok {
			t.Fatalf("no link %s", name)
		}
		return l
	}
	if l := link("left"); !slices.Contains(l.Ingress, "matchall") || l.Features == nil || l.Driver != "veth" {
		t.Errorf("left: ingress %q, features %q, driver %q", l.Ingress, l.Features, l.Driver)
	}
	if l := link("leftp"); l.Ingress == nil || len(l.Ingress) != 0 {
		t.Errorf("leftp has no filters: %q", l.Ingress)
	}
	if l := link("child"); l.Mode != "bridge" || l.Parent != "left" {
		t.Errorf("child: mode %q, parent %q", l.Mode, l.Parent)
	}
	if s.Modules == nil || !slices.Contains(s.Modules.Loaded, "veth") {
		t.Errorf("modules: %+v", s.Modules)
	}
}

func TestInstalledModules(t *testing.T) {
	dir := t.TempDir()
	if got := installedModules(dir + "/none"); got != nil {
		t.Errorf("no folder, and %q", got)
	}
	text := "kernel/net/netfilter/ipvs/ip_vs_wrr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\nkernel/net/netfilter/ipvs/ip_vs.ko.xz:\nkernel/net/dummy.ko:\n"
	if err := os.WriteFile(dir+"/modules.dep", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := installedModules(dir); !slices.Equal(got, []string{"ip_vs", "ip_vs_wrr"}) {
		t.Errorf("got %q", got)
	}
}
