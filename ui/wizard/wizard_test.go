package wizard_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"lvstui/lvs"
	"lvstui/ui/internal/sample"
	"lvstui/ui/screens"
	"lvstui/ui/wizard"
)

func sheet(f screens.Facts) *wizard.Sheet {
	var s wizard.Sheet
	s.SetFacts(wizard.Facts{Snapshot: f.Snapshot, Roles: f.Report.Roles, VIPs: f.VIPs})
	return &s
}

// Only what the host does not show is asked, and each answer may make another question needless.
func TestOnlyWhatIsNotSeenIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		facts screens.Facts
		give  []string // question, answer, …
		open  []wizard.ID
	}{
		"nothing known":         {sample.BareDirector(), nil, []wizard.ID{wizard.Role}},
		"a director":            {sample.BareDirector(), []string{"role", "director"}, []wizard.ID{wizard.VIP, wizard.Services, wizard.RealServers}},
		"its VIP":               {sample.BareDirector(), []string{"role", "director", "VIP", "192.168.10.100"}, []wizard.ID{wizard.Services, wizard.RealServers}},
		"a web server":          {sample.BareRealServer(), []string{"role", "real-server"}, nil},
		"a director that works": {sample.HealthyDirector(), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := sheet(c.facts)
			for i := 0; i < len(c.give); i += 2 {
				s.Give(wizard.ID(c.give[i]), c.give[i+1])
			}
			if got := s.Open(); !slices.Equal(got, c.open) {
				t.Errorf("asks %v, want %v", got, c.open)
			}
		})
	}
	s := sheet(sample.BareRealServer())
	s.Give(wizard.Role, "real-server")
	for q, want := range map[wizard.ID]string{wizard.VIP: "172.16.0.8", wizard.Services: "tcp/80", wizard.Gateway: "192.168.10.1"} {
		if got := s.Answer(q); got.Text != want || got.From == "" || got.Given {
			t.Errorf("%s: %+v, want %s", q, got, want)
		}
	}
}

// An answer is refused as it is given, with the words of the set-up.
func TestRefusals(t *testing.T) {
	used := sample.BareDirector()
	used.Snapshot.Neighbours = append(used.Snapshot.Neighbours, lvs.Neighbour{Address: netip.MustParseAddr("192.168.10.100"), Device: "eth0", MAC: "02:00:00:00:00:99", State: "reachable"})
	for name, c := range map[string]struct {
		facts    screens.Facts
		question wizard.ID
		answer   string
		want     string // part of the refusal, "" when it is taken
	}{
		"no address":         {sample.BareDirector(), wizard.VIP, "web", "is not an IP address"},
		"a good VIP":         {sample.BareDirector(), wizard.VIP, "192.168.10.100", ""},
		"VIP in use":         {used, wizard.VIP, "192.168.10.100", "is in use: 02:00:00:00:00:99 answers for it"},
		"loopback":           {sample.BareDirector(), wizard.VIP, "127.0.0.1", "can not be a virtual address"},
		"no service":         {sample.BareDirector(), wizard.Services, "http", "is not a service"},
		"a port alone":       {sample.BareDirector(), wizard.Services, "80, 443", ""},
		"RIP elsewhere":      {sample.BareDirector(), wizard.RealServers, "192.168.10.11 10.9.9.9", "10.9.9.9 is behind 192.168.10.1"},
		"RIP here":           {sample.BareDirector(), wizard.RealServers, "192.168.10.2", "is an address of this host itself"},
		"the VIP as RIP":     {sample.BareDirector(), wizard.RealServers, "172.16.0.8", "can not be a RIP as well"},
		"good RIPs":          {sample.BareDirector(), wizard.RealServers, "192.168.10.11=2, 192.168.10.12", ""},
		"no such interface":  {sample.BareDirector(), wizard.Interface, "eth7", `"eth7" is no interface`},
		"an empty answer":    {sample.BareDirector(), wizard.RealServers, "", "an answer is needed"},
		"neither of the two": {sample.BareDirector(), wizard.Role, "router", "as director or as real-server"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sheet(c.facts)
			s.Give(wizard.Role, "director")
			if c.question != wizard.VIP {
				s.Give(wizard.VIP, "172.16.0.8/24")
				s.Give(wizard.Services, "tcp/80")
			}
			if c.question == wizard.Interface {
				s.Give(wizard.RealServers, "192.168.10.11")
			}
			err := s.Check(c.question, c.answer)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v, want %q", c.answer, err, c.want)
			}
		})
	}
}

func TestPlanOfTheAnswers(t *testing.T) {
	s := sheet(sample.BareDirector())
	for q, a := range map[wizard.ID]string{wizard.Role: "director", wizard.VIP: "172.16.0.8/24", wizard.Services: "80", wizard.RealServers: "192.168.10.11 192.168.10.12=2"} {
		s.Give(q, a)
	}
	plan, problems := s.Plan()
	want := []string{"ipvsadm -A -t 172.16.0.8:80 -s rr", "ipvsadm -a -t 172.16.0.8:80 -r 192.168.10.11:80 -g -w 1",
		"ipvsadm -a -t 172.16.0.8:80 -r 192.168.10.12:80 -g -w 2", "ip addr add 172.16.0.8/24 dev eth0"}
	if got := plan.Commands(); len(problems) > 0 || len(got) < len(want) || !slices.Equal(got[:len(want)], want) { // announcing may follow
		t.Errorf("plan %q, problems %v", plan.Commands(), problems)
	}
	s.Give(wizard.RealServers, " ") // back to what is found, which is nothing
	if open := s.Open(); !slices.Equal(open, []wizard.ID{wizard.RealServers}) {
		t.Errorf("open: %v", open)
	}
}

// The fields of huh: choose what is offered, or type something else, which begins with what was chosen.
func TestField(t *testing.T) {
	s := sheet(sample.BareDirector())
	s.Give(wizard.Role, "director")
	s.Give(wizard.VIP, "172.16.0.8/24")
	f := s.NewField(wizard.RealServers, false, "")
	f.WithKeyMap(wizard.Keys())
	f.Focus()
	for _, code := range []rune{tea.KeySpace, tea.KeyDown, tea.KeyDown, tea.KeySpace, tea.KeyEnter} {
		f.Update(tea.KeyPressMsg{Code: code})
	}
	text, typed := f.Value()
	if text != "192.168.10.11" || !typed || f.Error() != nil {
		t.Errorf("value %q, typed %v, error %v", text, typed, f.Error())
	}
	f = s.NewField(wizard.RealServers, true, text)
	f.WithKeyMap(wizard.Keys())
	f.Focus()
	for _, r := range " 192.168.10.13=3" {
		f.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
	f.Update(tea.KeyPressMsg{Code: tea.KeyEnter})
	if text, typed := f.Value(); text != "192.168.10.11 192.168.10.13=3" || typed || f.Error() != nil {
		t.Errorf("value %q, typed %v, error %v", text, typed, f.Error())
	}
}
