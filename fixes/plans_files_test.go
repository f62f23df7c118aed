package fixes

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lvstui/lvs"
)

// Any table is brought to any other, by what a save file can hold; with no destination fewer on the way than at both ends, drained ones left
// alone, and all of it taken back.
func TestTheTableIsBroughtToTheFile(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	done := 0
	for range 400 {
		s, want := director(r, 12), director(r, 12).IPVS.Services
		names := namesOf(s.IPVS.Services, want)
		p := MatchTable(s, want, names)
		states, err := p.Simulate(s)
		if err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(p.Commands(), "\n"))
		}
		after, _ := p.After(s)
		if left := MatchTable(after, want, names); len(left.Steps) != 0 {
			t.Fatalf("after\n%s\nthere is still to do\n%s", strings.Join(p.Commands(), "\n"), strings.Join(left.Commands(), "\n"))
		}
		for _, name := range names {
			checkFewest(t, name, append([]*lvs.Snapshot{s}, states...))
			checkDrained(t, name, s, after)
		}
		undo, err := p.Undo(s)
		if err != nil {
			continue // tunnels
		}
		done++
		back, err := undo.After(after)
		if err != nil {
			t.Fatal(err)
		}
		if left := MatchTable(back, s.IPVS.Services, names); len(left.Steps) != 0 || len(back.IPVS.Services) != len(s.IPVS.Services) {
			t.Fatalf("taken back it is not as it was: %s", strings.Join(left.Commands(), "\n"))
		}
	}
	if done < 50 {
		t.Errorf("only %d plans could be taken back", done)
	}
}

func namesOf(tables ...[]lvs.Service) (names []VirtualService) {
	for _, v := range slices.Concat(tables...) {
		if n := NameOf(v); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

func checkFewest(t *testing.T, name VirtualService, states []*lvs.Snapshot) {
	t.Helper()
	count := func(s *lvs.Snapshot) int { v, _ := name.in(s); return len(v.Destinations) }
	fewest := min(count(states[0]), count(states[len(states)-1]))
	for _, s := range states {
		if count(s) < fewest {
			t.Fatalf("%s has %d destinations on the way", name, count(s))
		}
	}
}

func checkDrained(t *testing.T, name VirtualService, before, after *lvs.Snapshot) {
	t.Helper()
	v, _ := name.in(before)
	for _, d := range v.Destinations {
		if now, there := destinationIn(after, name, d.Address, d.Port); there && d.Weight == 0 && now.Weight != 0 {
			t.Fatalf("%s of %s was drained and has weight %d", d.Address, name, now.Weight)
		}
	}
}

// A VIP that others hang on goes without them.
func TestAddressesAreDroppedAlone(t *testing.T) {
	s := realServer()
	for _, p := range []string{"192.168.10.8/24", "192.168.10.9/24"} {
		next, err := AddAddress{Device: "eth0", Prefix: netip.MustParsePrefix(p), Scope: "global"}.Simulate(s)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	for _, gone := range s.Addresses {
		if gone.Device != "eth0" || !gone.Prefix.Addr().Is4() {
			continue
		}
		p := DropAddresses(s, []lvs.Address{gone})
		after, err := p.After(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(after.Addresses); got != len(s.Addresses)-1 || len(after.AddressesOf(gone.Prefix.Addr())) != 0 {
			t.Errorf("without %s there are %d addresses of %d, after %q", gone.Prefix, got, len(s.Addresses), p.Commands())
		}
	}
}
