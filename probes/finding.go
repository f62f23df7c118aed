// Package probes judges hosts: Diagnose puts the facts of one or more Snapshots and the flows seen on them before
// every Rule and returns a Report, which says where along the handshake path LVS-DR breaks and why. It is pure.
// The rules themselves are in probes/rules, the facts come from probes/collect and capture.
package probes

import (
	"net/netip"

	"lvstui/fixes"
	"lvstui/lvs"
)

// Severity is how bad a finding is for the clients of the virtual service.
type Severity string

const (
	Outage   Severity = "outage"   // clients are not served
	Degraded Severity = "degraded" // some are not, or not always
	Hazard   Severity = "hazard"   // works now, will break
	Note     Severity = "note"     // worth knowing, nothing to do
)

// Certainty is how far the evidence at hand goes.
type Certainty string

const (
	Certain Certainty = "certain" // the kernel would do nothing else
	Strong  Certainty = "strong"  // little else explains it
	Hint    Certainty = "hint"    // one of several explanations; another host or a capture can tell
)

// Finding is a rule's answer: something wrong on one host.
type Finding struct {
	ID        string    `json:"id"` // the rule's
	Severity  Severity  `json:"severity"`
	Certainty Certainty `json:"certainty"`
	Stage     lvs.Stage `json:"stage"`
	Host      string    `json:"host"`    // where the cause is, as far as known
	Subject   string    `json:"subject"` // what it is about: "172.16.0.8 on eth0"
	// VIP is the virtual address it concerns, invalid when it concerns none or all.
	VIP   netip.Addr `json:"vip,omitzero"`
	Title string     `json:"title"` // one line
	Why   string     `json:"why"`   // one paragraph: how this breaks the handshake
	// Evidence is what was seen, each with the command that shows it by hand.
	Evidence []Evidence `json:"evidence"`
	// SymptomOf is the ids of findings in the same report that cause this one.
	SymptomOf []string `json:"symptom_of"`
	// Fix is nil when nobody has a cure to offer.
	Fix *Fix `json:"fix"`
}

// Evidence is one fact that a finding rests on.
type Evidence struct {
	Fact    string `json:"fact"`
	Got     string `json:"got"`
	Want    string `json:"want"`
	Command string `json:"command"`
}

// Fix is the cure of a finding.
type Fix struct {
	Host     string   `json:"host"`     // where to type the commands
	Commands []string `json:"commands"` // what an operator would type there
	// Automatic says that lvstui can do it on the host that was looked at: Plan has steps.
	Automatic bool `json:"automatic"`
	// Words is what to do where commands do not reach: a router, a switch, an owner such as keepalived.
	Words string     `json:"words,omitempty"`
	Plan  fixes.Plan `json:"-"`
	// FromFiles is the other way about, where what runs and what the files say differ and Commands write down what runs: it brings what runs
	// to what the files say, whatever comes of that. It is nil where there are not two ways.
	FromFiles *Fix `json:"from_files,omitempty"`
}

// Key tells findings of one report apart and one report's from the next's.
func (f Finding) Key() string { return f.ID + "|" + f.Host + "|" + f.Subject }
