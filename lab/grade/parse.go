package grade

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"

	"lvstui/internal/arrange"
	"lvstui/lvs"
	"lvstui/probes"
)

//go:embed testdata
var data embed.FS

// Load reads all scenarios of testdata and makes cases of them, in the order of the report.
func Load() ([]Case, error) {
	files, err := fs.Glob(data, "testdata/*/*.txtar")
	if err != nil {
		return nil, err
	}
	all := map[Kind]map[string]*Scenario{Cluster: {}, Healthy: {}, Faulty: {}, Pair: {}}
	for _, file := range files {
		text, err := data.ReadFile(file)
		if err != nil {
			return nil, err
		}
		kind := Kind(path.Base(path.Dir(file)))
		if all[kind] == nil {
			return nil, fmt.Errorf("%s: no kind of scenario is called %s", file, kind)
		}
		s, err := parse(kind, strings.TrimSuffix(path.Base(file), ".txtar"), text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all[kind][s.Name] = s
	}
	return compose(all)
}

// Unprovoked says of rules why no scenario provokes them.
func Unprovoked() map[string]string {
	out := map[string]string{}
	text, err := data.ReadFile("testdata/unprovoked.txt")
	if err != nil {
		panic(err) // it is part of the program
	}
	for _, line := range meaningful(string(text)) {
		id, why, _ := strings.Cut(line, ": ")
		out[id] = why
	}
	return out
}

// Digest tells whether a case is the same as one measured before: it is made of what is done. What must be found may be said anew.
func (c Case) Digest() string {
	sum := sha256.New()
	for _, s := range c.scenarios() {
		for line := range strings.Lines(s.text) {
			if word, _, _ := strings.Cut(line, " "); !slices.Contains([]string{"find", "allow", "because", "cluster", "first"}, word) {
				fmt.Fprint(sum, line)
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// compose joins scenarios with their clusters and faults.
func compose(all map[Kind]map[string]*Scenario) ([]Case, error) {
	var out []Case
	for _, s := range all[Healthy] {
		out = append(out, Case{Scenario: s, Base: s})
	}
	for _, s := range all[Cluster] {
		if len(s.Client) == 0 { // it serves, so it is healthy too
			out = append(out, Case{Scenario: s, Base: s})
		}
	}
	for _, s := range slices.Concat(slices.Collect(maps.Values(all[Faulty])), slices.Collect(maps.Values(all[Pair]))) {
		for _, name := range s.Clusters {
			c := Case{Scenario: s, Base: all[Cluster][name]}
			if c.Base == nil {
				c.Base = all[Healthy][name]
			}
			if c.Base == nil {
				return nil, fmt.Errorf("%s %s: there is no cluster %q", s.Kind, s.Name, name)
			}
			for _, id := range s.Pair {
				f := all[Faulty][id]
				if f == nil {
					return nil, fmt.Errorf("pair %s: there is no fault %q", s.Name, id)
				}
				c.Faults = append(c.Faults, f)
			}
			out = append(out, c)
		}
	}
	arrange.By(out, compareCases)
	return out, nil
}

// parse reads one scenario. The text before the first part is its title; part "scenario" says what must come of it, "wires"
// how hosts are plugged, "vars" what $NAME stands for, "file NAME" is a file for the commands ($DIR/NAME), and every other
// part is named after a host and holds the lines to type there, in the order of the file.
func parse(kind Kind, name string, text []byte) (*Scenario, error) {
	a := txtar.Parse(text)
	s := &Scenario{Kind: kind, Name: name, Title: strings.Join(strings.Fields(string(a.Comment)), " "), Vars: map[string]string{}, Files: map[string]string{}, Told: map[string]lvs.Role{}, text: string(text)}
	if s.Title == "" {
		return nil, fmt.Errorf("the scenario has no title")
	}
	for _, f := range a.Files {
		if file, ok := strings.CutPrefix(f.Name, "file "); ok {
			s.Files[file] = string(f.Data)
			continue
		}
		lines := meaningful(string(f.Data))
		if !slices.Contains([]string{"scenario", "wires", "vars"}, f.Name) {
			s.Acts = append(s.Acts, Act{f.Name, lines})
			continue
		}
		for _, line := range lines {
			if err := s.statement(f.Name, line); err != nil {
				return nil, fmt.Errorf("%s: %q: %w", f.Name, line, err)
			}
		}
	}
	if len(s.Wires) == 0 && len(s.Clusters) == 0 {
		return nil, fmt.Errorf("there are neither wires nor a cluster")
	}
	if kind == Pair && (len(s.Pair) != 2 || !slices.Contains(s.Pair, s.First)) {
		return nil, fmt.Errorf("a pair needs a line \"pair FAULT FAULT\" and one \"first FAULT\" that names one of them")
	}
	return s, nil
}

// meaningful are the lines that are neither empty nor a comment; a backslash at the end joins the next one.
func meaningful(text string) []string {
	var out []string
	joined := strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(joined) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

func (s *Scenario) statement(part, line string) error {
	line, where, _ := strings.Cut(line, "@")
	var clusters []string
	if where != "" {
		clusters = strings.Split(strings.TrimSpace(where), ",")
	}
	words := strings.Fields(line)
	switch {
	case part == "vars":
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("want NAME=VALUE")
		}
		s.Vars[k] = strings.TrimSpace(v)
		return nil
	case part == "wires":
		if len(words) != 3 {
			return fmt.Errorf("want HOST NIC SEGMENT")
		}
		s.Wires = append(s.Wires, Wire{words[0], words[1], words[2]})
		return nil
	case len(words) < 2:
		return fmt.Errorf("too short")
	}
	switch words[0] {
	case "cluster":
		s.Clusters = words[1:]
	case "pair":
		s.Pair = words[1:]
	case "first":
		s.First = words[1]
	case "because":
		s.Because = strings.TrimSpace(strings.TrimPrefix(line, "because"))
	case "kernel":
		if len(words) != 3 || words[1] != "without" {
			return fmt.Errorf("want kernel without MODULE")
		}
		s.Without = words[2]
	case "told":
		return s.told(words[1:])
	case "nobody":
		s.Nobody = words[1]
	case "connect":
		return s.connect(words[1:])
	case "client":
		return s.client(words[1:], clusters)
	case "find", "allow":
		f, err := finding(words[1:], words[0] == "allow")
		if err != nil {
			return err
		}
		if words[0] == "find" {
			s.Finds = append(s.Finds, Expect[Find]{f, clusters})
		} else {
			s.Allows = append(s.Allows, Expect[Find]{f, clusters})
		}
	default:
		return fmt.Errorf("no statement begins with %q", words[0])
	}
	return nil
}

// told reads "HOST ROLE".
func (s *Scenario) told(words []string) error {
	roles := []lvs.Role{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer}
	if len(words) != 2 || !slices.Contains(roles, lvs.Role(words[1])) {
		return fmt.Errorf("want told HOST ROLE")
	}
	s.Told[words[0]] = lvs.Role(words[1])
	return nil
}

// connect reads "tcp ADDR:PORT [from HOST]".
func (s *Scenario) connect(words []string) error {
	c := Connect{From: "client"}
	if len(words) == 4 && words[2] == "from" {
		c.From = words[3]
	} else if len(words) != 2 {
		return fmt.Errorf("want connect tcp|udp ADDRESS:PORT [from HOST]")
	}
	c.Protocol, c.To = words[0], words[1]
	if c.Protocol != "tcp" && c.Protocol != "udp" {
		return fmt.Errorf("protocol %q", c.Protocol)
	}
	s.Connects = append(s.Connects, c)
	return nil
}

// client reads "served [SERVER]", "partly OUTCOME" or an outcome.
func (s *Scenario) client(words []string, clusters []string) error {
	w := Service{Kind: words[0]}
	switch {
	case len(words) == 2 && w.Kind == "served":
		w.Server = words[1]
	case len(words) == 2 && w.Kind == "partly":
		w.Lost = words[1]
	case len(words) == 1 && slices.Contains([]string{"served", "refused", "timeout", "unreachable", "broken", "unserved", "any"}, w.Kind):
	default:
		return fmt.Errorf("no service of clients is called that")
	}
	s.Client = append(s.Client, Expect[Service]{w, clusters})
	return nil
}

// finding reads "ID VANTAGE[,VANTAGE…] CERTAINTY [on=HOST]"; of what is allowed only the id, and on=HOST.
func finding(words []string, allowed bool) (Find, error) {
	f := Find{ID: words[0]}
	rest := words[1:]
	if n := len(rest); n > 0 {
		if host, ok := strings.CutPrefix(rest[n-1], "on="); ok {
			f.On, rest = host, rest[:n-1]
		}
	}
	if allowed {
		if len(rest) > 0 {
			return f, fmt.Errorf("want allow ID [on=HOST]")
		}
		return f, nil
	}
	if len(rest) != 2 {
		return f, fmt.Errorf("want find ID VANTAGE,… CERTAINTY [on=HOST]")
	}
	for v := range strings.SplitSeq(rest[0], ",") {
		f.Vantages = append(f.Vantages, Vantage(v))
	}
	f.Certainty = probes.Certainty(rest[1])
	if rank(f.Certainty) <= 0 {
		return f, fmt.Errorf("certainty %q", rest[1])
	}
	return f, nil
}

// rank orders certainties: the higher the surer, 0 for none.
func rank(c probes.Certainty) int {
	return slices.Index([]probes.Certainty{"", probes.Hint, probes.Strong, probes.Certain}, c)
}
