package apply_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
	"lvstui/fixes/apply"
	"lvstui/lvs"
	"lvstui/probes/collect"
)

// applier is one whose journal is in dir.
func applier(dir string) *apply.Applier {
	return &apply.Applier{Dir: dir, Look: func(ctx context.Context) (*lvs.Snapshot, error) {
		return collect.Collect(ctx, collect.Options{Host: "rs1", VIPs: []netip.Addr{netip.MustParseAddr(vip)}, Root: "/nonexistent"})
	}}
}

// cures are hosts and the plan that is to be done to each.
var cures = map[string]struct {
	host []string
	plan func(*lvs.Snapshot) fixes.Plan
}{
	"quiet": {append(slices.Clone(rs), "addr 172.16.0.8/32 lo"), func(s *lvs.Snapshot) fixes.Plan {
		return fixes.QuietARP(s, []netip.Addr{netip.MustParseAddr(vip)})
	}},
	"hold":   {rs, func(s *lvs.Snapshot) fixes.Plan { return fixes.HoldVIP(s, netip.MustParseAddr(vip)) }},
	"narrow": {append(slices.Clone(rs), "addr 172.16.0.8/24 lo label lo:0"), func(s *lvs.Snapshot) fixes.Plan { return fixes.NarrowVIP(s, held(s, "lo", "172.16.0.8/24")) }},
	"narrow with others": {append(slices.Clone(rs), "addr 172.16.0.8/24 lo", "addr 172.16.0.9/24 lo", "addr 172.16.0.10/24 lo label lo:x"),
		func(s *lvs.Snapshot) fixes.Plan { return fixes.NarrowVIP(s, held(s, "lo", "172.16.0.8/24")) }},
	"move": {append(slices.Clone(rs), "addr 172.16.0.8/24 v0"), func(s *lvs.Snapshot) fixes.Plan { return fixes.MoveVIPToLo(s, held(s, "v0", "172.16.0.8/24")) }},
	"move the first of a subnet": {[]string{"up lo", "veth v0 p0", "addr 192.168.10.8/24 v0", "addr 192.168.10.11/24 v0", "addr 192.168.10.12/24 v0 label v0:1",
		"route default via 192.168.10.1 dev v0"}, func(s *lvs.Snapshot) fixes.Plan { return fixes.MoveVIPToLo(s, held(s, "v0", "192.168.10.8/24")) }},
}

func held(s *lvs.Snapshot, device, prefix string) lvs.Address {
	for _, a := range s.Addresses {
		if a.Device == device && a.Prefix.String() == prefix {
			return a
		}
	}
	panic(prefix + " is not on " + device)
}

func TestApplyDoesWhatIsSimulatedAndUndoGivesItBack(t *testing.T) {
	for name, c := range cures {
		t.Run(name, func(t *testing.T) {
			enter(t)
			build(t, c.host...)
			a, before := applier(t.TempDir()), look(t, vip)
			plan := c.plan(before)
			if len(plan.Steps) < 2 {
				t.Fatalf("not much of a plan: %v", plan.Commands())
			}
			predicted, err := plan.After(before)
			if err != nil {
				t.Fatal(err)
			}
			steps := 0
			change, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, func(i int, done bool, err error) {
				if done && i == steps && err == nil {
					steps++
				}
			})
			if err != nil || change.State != fixes.Applied || steps != len(plan.Steps) {
				t.Fatalf("%v: %+v, %d steps, %v", plan.Commands(), change, steps, err)
			}
			if d := differences(predicted, look(t, vip)); d != "" {
				t.Fatalf("%v\nsimulated -, kernel +\n%s", plan.Commands(), d)
			}
			undone, err := a.Undo(context.Background(), "")
			if err != nil || undone.State != fixes.Undone || undone.ID != change.ID || undone.Error != "" {
				t.Fatalf("%+v, %v", undone, err)
			}
			if d := differences(before, look(t, vip)); d != "" {
				t.Fatalf("%v\nbefore -, after undo +\n%s", undone.UndoCommands, d)
			}
			list, err := a.List(context.Background())
			if err != nil || len(list) != 1 || list[0].State != fixes.Undone {
				t.Errorf("%+v, %v", list, err)
			}
			if _, err := a.Undo(context.Background(), ""); err == nil {
				t.Error("undone twice")
			}
		})
	}
}

func TestAPlanThatCannotBeTakenBackIsRefused(t *testing.T) {
	enter(t)
	build(t, "up lo", "veth v0 p0", "addr 192.168.10.8/24 v0", "addr 192.168.10.11/24 v0", "route default via 192.168.10.1 dev v0 src 192.168.10.11")
	a, before := applier(t.TempDir()), look(t, vip)
	_, err := a.Apply(context.Background(), fixes.MoveVIPToLo(before, held(before, "v0", "192.168.10.8/24")), before, fixes.Terms{}, nil)
	fails(t, err, "ip addr del 192.168.10.8/24 dev v0", "default via 192.168.10.1 dev v0 src 192.168.10.11")
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
}

// host builds a real server without VIP and returns what a test of Apply needs.
func host(t *testing.T) (*apply.Applier, *lvs.Snapshot, fixes.Plan) {
	t.Helper()
	enter(t)
	build(t, rs...)
	s := look(t, vip)
	return applier(t.TempDir()), s, fixes.HoldVIP(s, netip.MustParseAddr(vip))
}

// fails asserts that an error speaks of all of words.
func fails(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error without %q: %v", w, err)
		}
	}
}

func TestApplyRefusesWhenTheHostChangedSinceThePreview(t *testing.T) {
	a, seen, plan := host(t)
	build(t, "sysctl net/ipv4/conf/all/arp_ignore 2")
	before := look(t, vip)
	_, err := a.Apply(context.Background(), plan, seen, fixes.Terms{}, nil)
	fails(t, err, "net.ipv4.conf.all.arp_ignore is 2, was 0", "look again")
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
	if list, _ := a.List(context.Background()); len(list) != 0 {
		t.Errorf("journalled: %+v", list)
	}
}

func TestApplyIgnoresChangesThatDoNotConcernThePlan(t *testing.T) {
	a, seen, plan := host(t)
	build(t, "sysctl net/ipv4/conf/all/rp_filter 2", "addr 10.9.0.1/24 v0")
	if _, err := a.Apply(context.Background(), plan, seen, fixes.Terms{}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestARefusedStepTakesBackTheOnesBefore(t *testing.T) {
	a, before, plan := host(t)
	begun := 0
	a.At(func(place string) {
		// Somebody adds the VIP between our look and our step: the kernel answers EEXIST.
		if place != "begun" {
			return
		}
		if begun++; begun == len(plan.Steps) {
			build(t, "addr 172.16.0.8/32 lo")
		}
	})
	change, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil)
	fails(t, err, "ip addr add 172.16.0.8/32 dev lo", "file exists", "taken back")
	if change.State != fixes.Failed || change.Error == "" {
		t.Errorf("%+v", change)
	}
	a.At(nil)
	build(t, "deladdr 172.16.0.8/32 lo") // theirs was left alone
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err != nil {
		t.Errorf("a failed change stands in the way: %v", err)
	}
}

func TestAVerificationThatFailsTakesBack(t *testing.T) {
	a, before, plan := host(t)
	moved := 0
	a.At(func(place string) {
		if place == "moved" {
			if moved++; moved == len(plan.Steps) {
				build(t, "deladdr 172.16.0.8/32 lo")
			}
		}
	})
	change, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil)
	fails(t, err, "172.16.0.8/32 on lo is not there", "the host is as before")
	if change.State != fixes.Failed {
		t.Errorf("%+v", change)
	}
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
}

func TestACancelledApplyTakesBack(t *testing.T) {
	a, before, plan := host(t)
	ctx, cancel := context.WithCancel(context.Background())
	a.At(func(place string) {
		if place == "moved" {
			cancel()
		}
	})
	change, err := a.Apply(ctx, plan, before, fixes.Terms{}, nil)
	fails(t, err, "context canceled", "the host is as before")
	if change.State != fixes.Failed {
		t.Errorf("%+v", change)
	}
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
}

func TestTwoAppliersAtOnce(t *testing.T) {
	a, before, plan := host(t)
	asked := false
	a.At(func(place string) {
		if place != "moved" || asked {
			return
		}
		asked = true
		other := applier(a.Dir)
		_, err := other.Apply(context.Background(), plan, nil, fixes.Terms{}, nil)
		fails(t, err, "another lvstui")
		_, err = other.Undo(context.Background(), "")
		fails(t, err, "another lvstui")
		if list, err := other.List(context.Background()); err != nil || len(list) != 1 || list[0].State != fixes.Interrupted {
			t.Errorf("%+v, %v", list, err)
		}
	})
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err != nil || !asked {
		t.Fatal(err, asked)
	}
}

func TestUndoDoesNotClobberWhatSomebodyElseSet(t *testing.T) {
	a, before, plan := host(t)
	change, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	build(t, "sysctl net/ipv4/conf/all/arp_announce 1")
	now := look(t, vip)
	_, err = a.Undo(context.Background(), "")
	fails(t, err, "net.ipv4.conf.all.arp_announce is 1, lvstui left it 2", "ip addr del 172.16.0.8/32 dev lo")
	if d := differences(now, look(t, vip)); d != "" {
		t.Error(d)
	}
	build(t, "sysctl net/ipv4/conf/all/arp_announce 2")
	if _, err := a.Undo(context.Background(), change.ID); err != nil {
		t.Fatal(err)
	}
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
	_, err = a.Undo(context.Background(), change.ID)
	fails(t, err, "undone")
	_, err = a.Undo(context.Background(), "0099-nothing")
	fails(t, err, "no change 0099-nothing")
}

func TestUndoOfWhatWasPutBackByHand(t *testing.T) {
	a, before, plan := host(t)
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err != nil {
		t.Fatal(err)
	}
	build(t, "sysctl net/ipv4/conf/all/arp_announce 0", "sysctl net/ipv4/conf/all/arp_ignore 0", "deladdr 172.16.0.8/32 lo")
	if change, err := a.Undo(context.Background(), ""); err != nil || change.State != fixes.Undone {
		t.Errorf("%+v, %v", change, err)
	}
}

func TestChangesBelongToTheirNamespace(t *testing.T) {
	a, before, plan := host(t)
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err != nil {
		t.Fatal(err)
	}
	after := look(t, vip)
	elsewhere := make(chan struct{})
	go func() {
		defer close(elsewhere)
		enter(t)
		build(t, rs...)
		if list, err := a.List(context.Background()); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := a.Undo(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "no change") {
			t.Error(err)
		}
		if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err == nil || !strings.Contains(err.Error(), "network namespace") {
			t.Error(err)
		}
	}()
	<-elsewhere
	if d := differences(after, look(t, vip)); d != "" {
		t.Error(d)
	}
}

func TestWithoutTheCapability(t *testing.T) {
	a, before, plan := host(t)
	dropNetAdmin(t)
	_, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil)
	fails(t, err, "CAP_NET_ADMIN", "sudo lvstui fix "+plan.ID)
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
}

func TestReadOnlyProcSys(t *testing.T) {
	a, before, plan := host(t)
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		source, target string
		flags          uintptr
	}{{"none", "/", unix.MS_REC | unix.MS_PRIVATE}, {"/proc/sys", "/proc/sys", unix.MS_BIND}, {"none", "/proc/sys", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY}} {
		if err := unix.Mount(m.source, m.target, "", m.flags, ""); err != nil {
			t.Fatal(m, err)
		}
	}
	_, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil)
	fails(t, err, "/proc/sys is read-only", "container")
	if list, _ := a.List(context.Background()); len(list) != 0 {
		t.Errorf("journalled: %+v", list)
	}
}

func TestAnInterfaceNamedWithADot(t *testing.T) {
	enter(t)
	build(t, "up lo", "veth v0.100 p0", "addr 192.168.10.11/24 v0.100", "sysctl net/ipv4/conf/v0.100/arp_ignore 4")
	a, before := applier(t.TempDir()), look(t, vip)
	plan := fixes.HoldVIP(before, netip.MustParseAddr(vip))
	if !slices.Contains(plan.Commands(), "sysctl -w net.ipv4.conf.v0/100.arp_ignore=1") {
		t.Fatal(plan.Commands())
	}
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Undo(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
}

func TestDeletingAnAddressWithAPeer(t *testing.T) {
	enter(t)
	build(t, rs...)
	l, err := netlink.LinkByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	p := fixes.AddAddress{Device: "v0", Prefix: netip.MustParsePrefix("10.5.0.1/32"), Peer: netip.MustParsePrefix("10.5.0.2/30"), Label: "v0:p"}
	addr := &netlink.Addr{IPNet: netlink.NewIPNet(p.Prefix.Addr().AsSlice()), Peer: netlink.NewIPNet(p.Peer.Addr().AsSlice()), Label: p.Label}
	addr.Peer.Mask = []byte{255, 255, 255, 252}
	if err := netlink.AddrAdd(l, addr); err != nil { // with the broadcast address that the library makes up
		t.Fatal(err)
	}
	a, before := applier(t.TempDir()), look(t, vip)
	plan := fixes.Plan{ID: "peer", Steps: []fixes.Step{del("v0", "10.5.0.1/32")}}
	predicted, err := plan.After(before)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Apply(context.Background(), plan, before, fixes.Terms{}, nil); err != nil {
		t.Fatal(err)
	}
	if d := differences(predicted, look(t, vip)); d != "" {
		t.Error(d)
	}
	if _, err := a.Undo(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	if d := differences(before, look(t, vip)); d != "" {
		t.Error(d)
	}
}
