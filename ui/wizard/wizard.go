// Package wizard is what has to be known to make a host the director or a real server of a cluster: the questions, what
// the host itself answers to them, what speaks against an answer, and the plan that follows. It draws nothing and asks
// nobody; the Setup screen and the plain prompts of lvstui setup do.
package wizard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/fixes"
	"lvstui/lvs"
)

// ID names a question.
type ID string

// The questions, in the order in which they are asked.
const (
	Role        ID = "role"
	VIP         ID = "VIP"
	Services    ID = "services"
	RealServers ID = "real servers"
	Scheduler   ID = "scheduler"
	Interface   ID = "interface"
	Gateway     ID = "gateway"
)

// Facts is what is known of the host: the Snapshot and what it does and was told besides.
type Facts struct {
	Snapshot *lvs.Snapshot
	Roles    []lvs.Role   // that the report gives it
	VIPs     []netip.Addr // that the operator named when lvstui was started
	Virtuals []netip.AddrPort
}

// Answer is what is known about one question.
type Answer struct {
	Text string // "" when nothing is known
	// From says where it comes from: "on eth1", "you said so".
	From  string
	Given bool // by the operator
}

// Sheet is all the answers. The zero Sheet has none.
type Sheet struct {
	facts Facts
	given map[ID]string
}

// SetFacts takes what is known of the host now. Answers that were given stay.
func (s *Sheet) SetFacts(f Facts) { s.facts = f }

// Forget drops all answers that were given.
func (s *Sheet) Forget() { s.given = nil }

// Give takes an answer. An empty one goes back to what the host offers.
func (s *Sheet) Give(q ID, text string) {
	if s.given == nil {
		s.given = map[ID]string{}
	}
	if text = strings.Join(words(text), " "); q == Services {
		text = withProtocol(text)
	}
	if text == "" {
		delete(s.given, q)
		return
	}
	s.given[q] = text
}

// withProtocol makes "tcp/80" of "80": it is what is meant by a port alone.
func withProtocol(text string) string {
	all := words(text)
	for i, w := range all {
		if strings.Trim(w, "0123456789") == "" {
			all[i] = "tcp/" + w
		}
	}
	return strings.Join(all, " ")
}

// Answer is what was given, or else what the host leaves no doubt about.
func (s *Sheet) Answer(q ID) Answer {
	if text := s.given[q]; text != "" {
		return Answer{text, "you said so", true}
	}
	if s.facts.Snapshot == nil {
		return Answer{}
	}
	return s.found(q)
}

// RoleGiven is the role that the host is to have, "" while it is not known.
func (s *Sheet) RoleGiven() lvs.Role { return lvs.Role(s.Answer(Role).Text) }

// Questions are those that matter for the role; before that is known it is the only one.
func (s *Sheet) Questions() []ID {
	switch s.RoleGiven() {
	case lvs.RoleDirector:
		return []ID{Role, VIP, Services, RealServers, Scheduler, Interface}
	case lvs.RoleRealServer:
		return []ID{Role, VIP, Services, Gateway}
	}
	return []ID{Role}
}

// Open are the questions that only the operator can answer, and has not.
func (s *Sheet) Open() []ID {
	var out []ID
	for _, q := range s.Questions() {
		if s.Answer(q).Text == "" && q != Gateway { // without a gateway the routes decide
			out = append(out, q)
		}
	}
	return out
}

// Plan is what is to be done on this host, or why it can not: what package fixes says of it.
func (s *Sheet) Plan() (fixes.Plan, []fixes.Problem) {
	if s.facts.Snapshot == nil {
		return fixes.Plan{}, []fixes.Problem{{What: "nothing is known of this host", Next: "open the host itself"}}
	}
	spec, err := s.spec()
	if err != nil {
		return fixes.Plan{}, []fixes.Problem{{What: err.Error(), Next: "change that answer"}}
	}
	if s.RoleGiven() == lvs.RoleDirector {
		return fixes.SetUpDirector(spec, s.facts.Snapshot)
	}
	return fixes.SetUpRealServer(spec, s.facts.Snapshot)
}

// spec is the answers as the set-ups want them. What is not known yet is left out.
func (s *Sheet) spec() (spec fixes.Spec, err error) {
	if text := s.Answer(VIP).Text; text != "" {
		if spec.VIP, err = fixes.ParseVIP(text); err != nil {
			return spec, err
		}
	}
	if spec.Services, err = list(s.Answer(Services).Text, fixes.ParsePort); err != nil {
		return spec, err
	}
	if text := s.Answer(Gateway).Text; text != "" {
		if spec.Gateway, err = netip.ParseAddr(text); err != nil {
			return spec, err
		}
	}
	switch s.RoleGiven() {
	case lvs.RoleDirector:
	case lvs.RoleRealServer:
		return spec, nil
	default:
		return spec, fmt.Errorf("a host is set up as director or as real-server")
	}
	spec.Scheduler = s.Answer(Scheduler).Text
	if spec.RealServers, err = list(s.Answer(RealServers).Text, fixes.ParseRealServer); err != nil {
		return spec, err
	}
	spec.Interface = s.Answer(Interface).Text
	return spec, nil
}

// list reads words that are separated by spaces or commas.
func list[T any](text string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, word := range words(text) {
		v, err := parse(word)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == ';' })
}

// Check says what is wrong with an answer: that it can not be read, or what the set-up of this host would refuse because of it.
func (s *Sheet) Check(q ID, text string) error {
	trial := Sheet{facts: s.facts, given: map[ID]string{}}
	for k, v := range s.given {
		trial.given[k] = v
	}
	trial.Give(q, text)
	if trial.given[q] == "" {
		if len(s.found(q).Text) == 0 && q != Gateway {
			return problem{"an answer is needed here", ""}
		}
		return nil
	}
	spec, err := trial.spec()
	if err != nil || q == Role || trial.facts.Snapshot == nil {
		return err
	}
	if len(spec.Services) == 0 && q != Services {
		trial.given[Services] = "tcp/80"
	}
	if len(spec.RealServers) == 0 && q != RealServers { // the VIP is looked at before the others are known
		if seen := trial.offers(RealServers); len(seen) > 0 {
			trial.given[RealServers] = seen[0].Text
		}
	}
	about := subjects(q, spec)
	_, problems := trial.Plan()
	for _, p := range problems {
		if slices.ContainsFunc(about, func(word string) bool { return mentions(p.What, word) }) {
			return problem{p.What, p.Next}
		}
	}
	return nil
}

// subjects are the words by which a refusal is known to be about the answer.
func subjects(q ID, spec fixes.Spec) []string {
	switch q {
	case VIP:
		return []string{spec.VIP.Addr().String(), spec.VIP.String()}
	case RealServers:
		var out []string
		for _, rs := range spec.RealServers {
			out = append(out, rs.Address.String())
		}
		return out
	case Services:
		var out []string
		for _, p := range spec.Services {
			out = append(out, p.String())
		}
		return out
	case Interface:
		return []string{spec.Interface}
	}
	return nil
}

// mentions tells whether a sentence has a word, and not only as the beginning of another: 10.0.0.1 is not in 10.0.0.11.
func mentions(sentence, word string) bool {
	for at := 0; word != ""; {
		i := strings.Index(sentence[at:], word)
		if i < 0 {
			return false
		}
		before, after := sentence[:at+i], sentence[at+i+len(word):]
		if !partOf(before, false) && !partOf(after, true) {
			return true
		}
		at += i + len(word)
	}
	return false
}

// partOf tells whether a text goes on, or before, with a sign that belongs to an address.
func partOf(text string, begin bool) bool {
	if text == "" {
		return false
	}
	c := text[len(text)-1]
	if begin {
		if c = text[0]; (c == '.' || c == ':') && (len(text) == 1 || text[1] == ' ') {
			return false // the end of a sentence or of a clause
		}
	}
	return c == '.' || c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
}

// problem is a refusal as an error: what, and what to do about it.
type problem struct{ what, next string }

func (p problem) Error() string {
	if p.next == "" {
		return p.what
	}
	return p.what + "; " + p.next
}
