package lab

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lvstui/probes/rules"
)

func TestMessagesAreAsLongAsTheArticles(t *testing.T) {
	for _, topology := range Topologies {
		if n := len(requestTo(topology.VIP().String())); n != 74 {
			t.Errorf("%s: the request has %d bytes, want 74", topology, n)
		}
	}
	for _, server := range []string{RealServer1, RealServer2} {
		if n := len(answerFrom(server)); n != 274 {
			t.Errorf("%s: the answer has %d bytes, want 274", server, n)
		}
	}
}

func TestFaultsAreWellFormed(t *testing.T) {
	ids := map[string]bool{}
	for _, f := range Faults() {
		if _, ok := rules.Find(f.ID); !ok {
			t.Errorf("fault %s: there is no rule of that id to find it", f.ID)
		}
		if ids[f.ID] || f.Title == "" || f.inject == nil || len(f.Topologies) == 0 || !f.TriedIn(f.Topologies[0]) {
			t.Errorf("fault %s is there twice or not complete: %+v", f.ID, f)
		}
		ids[f.ID] = true
		if len(f.Expect.Findings) == 0 || len(f.Expect.Flows) == 0 {
			t.Errorf("fault %s does not say what is to be seen of it", f.ID)
		}
		if all := f.Expect.Client == ServedByOne; all == (f.Expect.Lost != "") {
			t.Errorf("fault %s: the client gets %s, yet connections end %q", f.ID, f.Expect.Client, f.Expect.Lost)
		}
		checkPlaces(t, f)
	}
}

// checkPlaces looks for misspelt hosts and stages.
func checkPlaces(t *testing.T, f Fault) {
	hosts := []string{f.Host}
	for _, e := range f.Expect.Findings {
		hosts = append(hosts, e.Host)
	}
	for _, e := range f.Expect.Counters {
		hosts = append(hosts, e.Host)
	}
	for _, e := range f.Expect.Flows {
		hosts = append(hosts, e.Host)
		if e.Reached != "" && e.Reached.Index() < 0 || e.StalledAt != "" && e.StalledAt.Index() <= e.Reached.Index() {
			t.Errorf("fault %s: no flow reaches %q and stalls at %q", f.ID, e.Reached, e.StalledAt)
		}
	}
	for _, h := range hosts {
		if !slices.Contains(hostNames, h) {
			t.Errorf("fault %s: there is no host %q", f.ID, h)
		}
	}
}

func TestWhatTheLabCannotDoSaysWhatItCan(t *testing.T) {
	for want, spec := range map[string]Spec{
		"split, shared, single": {Topology: "star"},
		"rs-answers-arp":        {Topology: Shared, Faults: []string{"moon-phase"}},
		"take shared, single":   {Topology: Split, Faults: []string{"rs-answers-arp"}},
	} {
		if _, err := Up(t.Context(), spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v came to %v, want an error that says %q", spec, err, want)
		}
	}
}

func TestAnswerIsHTTP(t *testing.T) {
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answerFrom(RealServer2))), nil)
	if err != nil || r.StatusCode != http.StatusOK || r.Header.Get("X-Real-Server") != RealServer2 || r.ContentLength <= 0 {
		t.Errorf("the answer reads as %+v, %v", r, err)
	}
}
