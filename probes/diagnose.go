package probes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Diagnose puts the observed hosts before every rule. The first host is the one asked about; the others can only make
// what it hints at certain. It is pure: the same observations give the same Report, whatever the order of the rules.
func Diagnose(rules []Rule, observed []Observation, opt Options) Report {
	cluster := assemble(observed, opt)
	r := Report{Schema: ReportSchema, Roles: []lvs.Role{}, VirtualServices: []VirtualService{}, Findings: []Finding{},
		Gaps: []HostGap{}, Undecided: []Undecided{}}
	if len(cluster.Hosts) == 0 {
		r.Verdict, r.Summary, r.Path = VerdictUnknown, "no host to look at", path(&r, rules, cluster, nil)
		return r
	}
	first := cluster.Hosts[0]
	r.Host, r.TakenAt, r.Roles = first.Name(), first.Snapshot.TakenAt, append(r.Roles, first.Roles...)
	r.Probed = first.Snapshot.Probed
	r.VirtualServices = append(r.VirtualServices, virtualServices(cluster)...)
	unclear := map[lvs.Stage]string{}
	for _, h := range cluster.Hosts {
		for _, g := range h.Snapshot.Gaps {
			r.Gaps = append(r.Gaps, HostGap{h.Name(), g})
		}
		for i := range rules {
			found, undecided, why := judge(&rules[i], h, cluster)
			if old := unclear[rules[i].Stage]; why != "" && (old == "" || why < old) { // whatever the order of the rules
				unclear[rules[i].Stage] = why
			}
			r.Findings = append(r.Findings, found...)
			if len(undecided) > 0 {
				r.Undecided = append(r.Undecided, Undecided{rules[i].ID, h.Name(), undecided})
			}
		}
	}
	r.Findings = merge(r.Findings)
	linkSymptoms(rules, r.Findings)
	arrange.By(r.Findings, compareFindings)
	r.Path = path(&r, rules, cluster, unclear)
	r.Verdict = verdict(&r, cluster)
	r.Summary = summary(&r, cluster)
	return r
}

// judge puts one host before one rule.
func judge(rule *Rule, h *Host, cluster *Cluster) (found []Finding, undecided []lvs.Source, unclear string) {
	if len(rule.Roles) > 0 && !slices.ContainsFunc(rule.Roles, h.Is) {
		return nil, nil, ""
	}
	if missing := h.Snapshot.Missing(rule.Needs...); len(missing) > 0 {
		return nil, missing, ""
	}
	c := &Case{Host: h, Cluster: cluster, rule: rule}
	found = fold(rule.Judge(c))
	return found, c.undecided, c.unclear
}

// merge makes one finding of those that say the same of the same host: of two, the more certain one stays. A director and a
// real server may both point to one cause.
func merge(found []Finding) []Finding {
	out := []Finding{}
	at := map[string]int{}
	for _, f := range found {
		i, dup := at[f.Key()]
		if !dup {
			at[f.Key()] = len(out)
			out = append(out, f)
		} else if certaintyRank(f.Certainty) < certaintyRank(out[i].Certainty) {
			out[i] = f
		}
	}
	return out
}

// linkSymptoms writes into each finding which of the others cause it. Causes are followed one step; a cycle cannot hide both ends,
// because a finding whose only causes are its own symptoms stays a cause.
func linkSymptoms(rules []Rule, found []Finding) {
	causes := map[string][]string{}
	for _, r := range rules {
		causes[r.ID] = r.DependsOn
	}
	for i := range found {
		for j := range found {
			if i == j || !slices.Contains(causes[found[i].ID], found[j].ID) || !sameVIP(found[i], found[j]) {
				continue
			}
			if slices.Contains(causes[found[j].ID], found[i].ID) && i < j {
				continue
			}
			// A hint does not explain away what is certain.
			if certaintyRank(found[j].Certainty) > certaintyRank(found[i].Certainty) && found[j].Certainty == Hint {
				continue
			}
			if !slices.Contains(found[i].SymptomOf, found[j].ID) {
				found[i].SymptomOf = append(found[i].SymptomOf, found[j].ID)
			}
		}
		slices.Sort(found[i].SymptomOf)
	}
}

func sameVIP(a, b Finding) bool {
	return !a.VIP.IsValid() || !b.VIP.IsValid() || a.VIP == b.VIP
}

// compareFindings: causes before symptoms, then the worst, the surest, and the earliest on the path.
func compareFindings(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(min(len(a.SymptomOf), 1), min(len(b.SymptomOf), 1)),
		cmp.Compare(severityRank(a.Severity), severityRank(b.Severity)),
		cmp.Compare(certaintyRank(a.Certainty), certaintyRank(b.Certainty)),
		cmp.Compare(a.Stage.Index(), b.Stage.Index()),
		cmp.Compare(a.Key(), b.Key()),
	)
}

// Severities are those of the findings by their Key, to hold another report of the same hosts against.
func (r Report) Severities() map[string]Severity {
	out := make(map[string]Severity, len(r.Findings))
	for _, f := range r.Findings {
		out[f.Key()] = f.Severity
	}
	return out
}

// WorseThan compares how much two severities matter to clients.
func (s Severity) WorseThan(other Severity) bool { return severityRank(s) < severityRank(other) }

func severityRank(s Severity) int { return slices.Index([]Severity{Outage, Degraded, Hazard, Note}, s) }

func certaintyRank(c Certainty) int { return slices.Index([]Certainty{Certain, Strong, Hint}, c) }

// verdict: broken when clients are not served, warning when something is or may soon be wrong, unknown when a rule that could
// have found an outage on the host asked about had to pass.
func verdict(r *Report, c *Cluster) Verdict {
	worst := VerdictOK
	raise := func(v Verdict) {
		if v == VerdictBroken || worst == VerdictOK {
			worst = v
		}
	}
	for _, f := range r.Findings {
		switch {
		case f.Severity == Outage && f.Certainty != Hint:
			raise(VerdictBroken)
		case f.Severity != Note:
			raise(VerdictWarning)
		}
	}
	for _, p := range r.Path {
		switch p.Status {
		case lvs.StageBroken:
			raise(VerdictBroken)
		case lvs.StageSuspect:
			raise(VerdictWarning)
		}
	}
	if worst == VerdictOK && (len(r.Undecided) > 0 || rolesUnknown(c)) {
		return VerdictUnknown
	}
	return worst
}

// rolesUnknown says that the first host may be a director or real server for all we could read.
func rolesUnknown(c *Cluster) bool {
	s := c.Hosts[0].Snapshot
	return len(c.Hosts[0].Roles) == 0 && len(s.Missing(lvs.SourceIPVS, lvs.SourceAddresses, lvs.SourceLinks)) > 0
}

// summary is the verdict in one sentence for the top of the screen.
func summary(r *Report, c *Cluster) string {
	first := c.Hosts[0]
	if len(r.Findings) > 0 {
		switch f := r.Findings[0]; {
		case f.Severity == Note:
		case f.Certainty == Hint: // the first of the suspects is not yet the cause
			return "perhaps " + f.Title
		default:
			return f.Title
		}
	}
	for _, p := range r.Path {
		if p.Status == lvs.StageBroken || p.Status == lvs.StageSuspect {
			return stopWords(p)
		}
	}
	switch {
	case r.Verdict == VerdictUnknown && len(r.Undecided) > 0:
		return "nothing wrong seen, but not everything could be checked: " + undecidedIDs(r.Undecided)
	case r.Verdict == VerdictUnknown:
		return "could not tell: " + string(first.Snapshot.Missing(lvs.SourceIPVS, lvs.SourceAddresses, lvs.SourceLinks)[0]) + " could not be read"
	case len(first.Roles) == 0 && len(first.Snapshot.Elsewhere) > 0:
		o := first.Snapshot.Elsewhere[0]
		return fmt.Sprintf("no virtual service, no VIP here; %s keeps them in another network namespace (%s)", o.Name, o.Evidence)
	case len(first.Roles) == 0:
		return "not an LVS host: no virtual service, no VIP"
	}
	if n := notSeen(r.Path); n > 0 {
		return fmt.Sprintf("nothing wrong found; %d of %d stages not seen", n, len(r.Path))
	}
	return "nothing wrong found"
}

// stopWords says where handshakes stop, and how many.
func stopWords(p PathStage) string {
	text := "handshakes stop at " + p.Stage.Title()
	if p.Reached > 0 {
		text = "some " + text
	}
	if p.Due > 0 {
		text += fmt.Sprintf(", %d of %d got there", p.Reached, p.Due)
	}
	return text
}

// notSeen counts the stages of which nothing is known.
func notSeen(path []PathStage) (n int) {
	for _, p := range path {
		if p.Status == lvs.StageUnknown {
			n++
		}
	}
	return n
}

// undecidedIDs names the first rules that could not be judged.
func undecidedIDs(undecided []Undecided) string {
	var ids []string
	for _, u := range undecided {
		if !slices.Contains(ids, u.Rule) {
			ids = append(ids, u.Rule)
		}
	}
	slices.Sort(ids) // whatever the order of the rules
	if len(ids) > 2 {
		return fmt.Sprintf("%s, %s and %d more", ids[0], ids[1], len(ids)-2)
	}
	return strings.Join(ids, ", ")
}

func virtualServices(c *Cluster) []VirtualService {
	var out []VirtualService
	for _, h := range c.Hosts {
		if h.Snapshot.IPVS == nil {
			continue
		}
		for _, v := range h.Snapshot.IPVS.Services {
			vs := VirtualService{Virtual: v.Name(), Protocol: v.Protocol, Scheduler: v.Scheduler, Destinations: []Destination{}}
			for _, d := range v.Destinations {
				vs.Destinations = append(vs.Destinations, Destination{d.Name(), d.Forward, d.Weight, d.ActiveConns, d.InactiveConns})
			}
			out = append(out, vs)
		}
	}
	return out
}
