package probes

import (
	"time"

	"lvstui/lvs"
)

// ReportSchema is the version of Report's JSON. Fields may be added under one number, never renamed.
const ReportSchema = 1

// Verdict is the report in one word.
type Verdict string

const (
	VerdictOK      Verdict = "ok"
	VerdictWarning Verdict = "warning"
	VerdictBroken  Verdict = "broken"
	VerdictUnknown Verdict = "unknown"
)

// ExitStatus is the status of `lvstui check`, as monitoring plugins have it.
func (v Verdict) ExitStatus() int {
	switch v {
	case VerdictOK:
		return 0
	case VerdictWarning:
		return 1
	case VerdictBroken:
		return 2
	}
	return 3
}

// Report is what Diagnose makes of one or more hosts.
type Report struct {
	Schema          int              `json:"schema"`
	Host            string           `json:"host"` // the first host: the one asked about
	TakenAt         time.Time        `json:"taken_at"`
	Roles           []lvs.Role       `json:"roles"`
	Verdict         Verdict          `json:"verdict"`
	Summary         string           `json:"summary"` // the verdict in one sentence
	VirtualServices []VirtualService `json:"virtual_services"`
	Path            []PathStage      `json:"path"` // all eleven stages, in order
	Findings        []Finding        `json:"findings"`
	Gaps            []HostGap        `json:"gaps"`
	// Undecided is the rules that could not be judged for want of facts, and why.
	Undecided []Undecided `json:"undecided"`
	// Probed is what active tests on the first host found, nil unless the operator asked for one.
	Probed *lvs.Probed `json:"probed,omitempty"`
}

// VirtualService is a service of a report's director.
type VirtualService struct {
	Virtual      string        `json:"virtual"` // "172.16.0.8:80"
	Protocol     lvs.Protocol  `json:"protocol"`
	Scheduler    string        `json:"scheduler"`
	Destinations []Destination `json:"destinations"`
}

// Destination is a destination of a report's virtual service.
type Destination struct {
	RealServer    string      `json:"real_server"` // "192.168.10.11:80"
	Forward       lvs.Forward `json:"forward"`
	Weight        int         `json:"weight"`
	ActiveConns   uint32      `json:"active_conns"`
	InactiveConns uint32      `json:"inactive_conns"`
}

// PathStage is how one stage of the handshake path stands.
type PathStage struct {
	Stage    lvs.Stage       `json:"stage"`
	Status   lvs.StageStatus `json:"status"`
	Findings []string        `json:"findings"` // ids of findings at this stage, causes first
	// Reached of Due flows got past this stage, counting seen and implied; Due is 0 when no flow tells.
	Reached int `json:"reached,omitempty"`
	Due     int `json:"due,omitempty"`
	// Note says what the flows or the facts tell, in a few words: "24 of 24", "not seen here".
	Note string `json:"note"`
}

// HostGap is a Gap with the host it was met on.
type HostGap struct {
	Host string `json:"host"`
	lvs.Gap
}

// Undecided is a rule that could not be judged on a host.
type Undecided struct {
	Rule    string       `json:"rule"`
	Host    string       `json:"host"`
	Missing []lvs.Source `json:"missing"`
}
