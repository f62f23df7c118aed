package grade

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"lvstui/lab"
	"lvstui/probes"
	"lvstui/probes/collect"
	"lvstui/probes/rules"
)

// Options say how to measure.
type Options struct {
	// Program is lvstui and, if need be, arguments before its own.
	Program string
	// Env is added to the environment of hosts' first processes.
	Env []string
	// Quick listens only where it matters most: on the director, where a fault must be found, and on healthy real servers.
	Quick bool
}

// Measured is what a case came to.
type Measured struct {
	Case    string
	Digest  string // of the case
	Error   string // the scenario itself did not work
	Got     string // what the client got
	GotIt   bool   // as the scenario says
	Hurried bool   // the machine was too busy to look
	Reports map[Vantage]probes.Report
	Tries   int
}

// attempts is how often a case is measured anew when the client does not get what it should: ARP tables age, and two hosts
// that answer for one address win in turns.
const attempts = 3

// Measure builds the case's cluster, breaks it, connects, and lets lvstui look at every host.
func Measure(c Case, opt Options) Measured {
	m := Measured{Case: c.Name(), Digest: c.Digest()}
	cl, err := build(c, opt.Env)
	if err != nil {
		m.Error = err.Error()
		return m
	}
	defer cl.down()
	if err := cl.prepare(c); err != nil {
		m.Error = err.Error()
		return m
	}
	for m.Tries = 1; ; m.Tries++ {
		if err := cl.measure(c, opt, &m); err != nil {
			m.Error = err.Error()
			return m
		}
		if m.GotIt && !m.Hurried || m.Tries == attempts {
			return m
		}
		time.Sleep(time.Second)
	}
}

// prepare configures the cluster, sees that it serves, and puts the faults in.
func (cl *cluster) prepare(c Case) error {
	if err := cl.together(c.Base.Acts); err != nil {
		return err
	}
	if c.Scenario == c.Base {
		return nil
	}
	if s := in(c.Base.Client, c.Base.Name); len(s) == 0 || s[0].Kind == "served" {
		if err := cl.served(c.Base.Connects); err != nil {
			return err
		}
	}
	for _, s := range c.scenarios()[1:] {
		for _, a := range s.Acts {
			if err := cl.act(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// served waits until the cluster serves, which it must before it is broken.
func (cl *cluster) served(connects []Connect) error {
	var results []lab.Result
	for range 4 {
		results = nil
		for _, k := range connects {
			r, err := cl.dial(k, 2, 5*time.Second)
			if err != nil {
				return err
			}
			results = append(results, r...)
		}
		if lab.Count(results).OK == len(results) {
			return nil
		}
	}
	return fmt.Errorf("%s: before the fault the client got %s", cl.name, describe(results))
}

func (cl *cluster) dial(k Connect, n int, timeout time.Duration) ([]lab.Result, error) {
	k.To = cl.substitute(k.To)
	h := cl.hosts[k.From]
	if h == nil {
		return nil, fmt.Errorf("no host %s to connect from", k.From)
	}
	var results []lab.Result
	err := h.Call("Host.Dial", Ask{Connect: k, N: n, Timeout: timeout}, &results)
	return results, err
}

// listened is how long every host listens: the client's patience, and a moment.
const (
	patience = 2500 * time.Millisecond // a SYN, and one more after a second
	patient  = 4500 * time.Millisecond // three ARP requests take three seconds
)

// measure lets every host listen while the client connects, then look.
func (cl *cluster) measure(c Case, opt Options, m *Measured) error {
	m.Reports = map[Vantage]probes.Report{}
	want := c.Service()
	timeout := patience
	if want.Kind == "unreachable" || want.Lost == "unreachable" {
		timeout = patient
	}
	// On a busy machine the first host may have listened long before the last one begins, and stop before the client does.
	enough := (timeout + time.Second) * time.Duration(m.Tries*m.Tries)
	jobs, first, err := cl.listen(c, opt, enough)
	if err != nil {
		return err
	}
	var results []lab.Result
	for i, k := range c.Connects() {
		r, err := cl.dial(k, 4, timeout)
		if err != nil {
			return err
		}
		if i == 0 || want.Kind == "served" {
			results = append(results, r...)
		}
	}
	m.Got, m.GotIt = describe(results), gotIt(want, results)
	late := time.Since(first) > enough
	if !m.GotIt && m.Tries < attempts {
		return cl.finish(jobs, nil)
	}
	if err := cl.finish(jobs, m.Reports); err != nil {
		return err
	}
	if m.Hurried = late || hurried(m.Reports); m.Hurried && m.Tries < attempts {
		return nil
	}
	if err := cl.look(c, opt, m.Reports); err != nil {
		return err
	}
	return cl.probe(c, opt, m.Reports)
}

// hurried says that the program could not look in the time that it gives itself, because the machine has much else to do. That says
// nothing about the rules.
func hurried(reports map[Vantage]probes.Report) bool {
	for _, r := range reports {
		for _, g := range r.Gaps {
			if strings.Contains(g.Reason, "in time") || strings.Contains(g.Reason, "the time for the whole look") || strings.Contains(g.Reason, "timeout") {
				return true
			}
		}
	}
	return false
}

// listen starts `lvstui check --flows` on every host and returns when all are listening. first is when the first one was.
func (cl *cluster) listen(c Case, opt Options, d time.Duration) (jobs map[string]int, first time.Time, err error) {
	jobs = map[string]int{}
	err = cl.each(func(name string, h *remote, mu *sync.Mutex) error {
		if !opt.listens(c, name) {
			return nil
		}
		args := []string{opt.Program, "check", "--format", "json", "--flows", d.String()}
		args = append(args, cl.asked(c, name).flags()...)
		var out Output
		if err := h.Call("Host.Run", Command{Args: args, Until: "listening for"}, &out); err != nil {
			return err
		}
		if out.Job == 0 {
			return fmt.Errorf("%s on %s: exit status %d: %s", strings.Join(args, " "), name, out.Exit, out.Stderr)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(jobs) == 0 {
			first = time.Now()
		}
		jobs[name] = out.Job
		return nil
	})
	return jobs, first, err
}

// listens says whether one listens on a host: everywhere when the cluster is healthy and in a fault's first cluster, in the others
// on the director and where the fault must be found, because every further program takes its time in an emulated machine.
func (o Options) listens(c Case, host string) bool {
	if host == "director" || slices.ContainsFunc(c.Finds(), func(f Find) bool { return f.Vantages[0] == Vantage(host+"+flows") }) {
		return true
	}
	if c.kind() == Healthy {
		return !o.Quick || strings.HasPrefix(host, "rs") || c.Scenario.Nobody != ""
	}
	return !o.Quick && c.Turn() == 0
}

// finish waits for what listen started.
func (cl *cluster) finish(jobs map[string]int, reports map[Vantage]probes.Report) error {
	return cl.each(func(name string, h *remote, mu *sync.Mutex) error {
		if jobs[name] == 0 {
			return nil
		}
		var out Output
		if err := h.Call("Host.Wait", jobs[name], &out); err != nil {
			return err
		}
		var r probes.Report
		if err := json.Unmarshal(out.Stdout, &r); err != nil {
			return fmt.Errorf("check --flows on %s: exit status %d: %w: %s", name, out.Exit, err, out.Stderr)
		}
		mu.Lock()
		defer mu.Unlock()
		if reports != nil {
			reports[Vantage(name+"+flows")] = r
		}
		return nil
	})
}

// look takes a snapshot of every host with the program and judges each alone and all together, as `lvstui check --from` does.
func (cl *cluster) look(c Case, opt Options, reports map[Vantage]probes.Report) error {
	seen := map[string]probes.Observation{}
	err := cl.inTurn(func(name string, h *remote) error {
		observe := func(vips ...netip.Addr) (probes.Observation, error) {
			var out []byte
			if err := h.Call("Host.Look", Looking{VIPs: vips}, &out); err != nil {
				return probes.Observation{}, fmt.Errorf("snapshot of %s: %w", name, err)
			}
			s, err := collect.Load(bytes.NewReader(out))
			return probes.Observation{Snapshot: s}, err
		}
		asked := cl.asked(c, name)
		o, err := observe(asked.VIPs...)
		if err != nil {
			return err
		}
		r := probes.Diagnose(rules.All(), []probes.Observation{o}, probes.Options(asked))
		seen[name], reports[Vantage(name)] = o, r
		if !strings.HasPrefix(name, "rs") || name == "rs1" && c.kind() != Healthy {
			return nil
		}
		vip := cl.virtual(c)
		if o, err = observe(vip); err != nil {
			return err
		}
		r = probes.Diagnose(rules.All(), []probes.Observation{o}, probes.Options{VIPs: []netip.Addr{vip}})
		reports[Vantage(name+"+vip")] = r
		return nil
	})
	if err != nil {
		return err
	}
	var all []probes.Observation
	for _, first := range []bool{true, false} { // the director is the one asked about
		for _, name := range cl.order {
			if strings.HasPrefix(name, "director") == first {
				all = append(all, seen[name])
			}
		}
	}
	reports[All] = probes.Diagnose(rules.All(), all, probes.Options{Roles: cl.asked(c, "director").Roles})
	return nil
}

// probe runs `lvstui check --probe arp` where a scenario says that it finds something.
func (cl *cluster) probe(c Case, opt Options, reports map[Vantage]probes.Report) error {
	for _, f := range c.Finds() {
		at := f.Vantages[0]
		if _, done := reports[at]; done || !strings.HasSuffix(string(at), "+probe") || cl.hosts[at.Host()] == nil {
			continue
		}
		args := append([]string{opt.Program, "check", "--format", "json", "--probe", "arp"}, cl.asked(c, at.Host()).flags()...)
		var out Output
		if err := cl.hosts[at.Host()].Call("Host.Run", Command{Args: args}, &out); err != nil {
			return err
		}
		var r probes.Report
		if err := json.Unmarshal(out.Stdout, &r); err != nil {
			return fmt.Errorf("check --probe arp on %s: exit status %d: %w: %s", at.Host(), out.Exit, err, out.Stderr)
		}
		reports[at] = r
	}
	return nil
}

// virtual is the VIP: the variable of that name, else the address that the client connects to.
func (cl *cluster) virtual(c Case) netip.Addr {
	if vip, err := netip.ParseAddr(cl.vars["VIP"]); err == nil {
		return vip
	}
	for _, k := range c.Connects() {
		if ap, err := netip.ParseAddrPort(cl.substitute(k.To)); err == nil {
			return ap.Addr()
		}
	}
	return netip.Addr{}
}

// question is what one says when asking on a host.
type question probes.Options

// asked is what one says on a host: clients and routers cannot know the VIP, the person who asks there does; and where the scenario has
// the operator say what a host is, the VIP is named as well.
func (cl *cluster) asked(c Case, host string) question {
	var q question
	role, told := c.Scenario.Told[host]
	if told {
		q.Roles = append(q.Roles, role)
	}
	vip := cl.virtual(c)
	if vip.IsValid() && c.Scenario.Nobody == "" && (told || strings.HasPrefix(host, "client") || strings.HasPrefix(host, "router")) {
		q.VIPs = append(q.VIPs, vip)
	}
	return q
}

func (q question) flags() []string {
	var out []string
	for _, vip := range q.VIPs {
		out = append(out, "--vip", vip.String())
	}
	for _, r := range q.Roles {
		out = append(out, "--role", string(r))
	}
	return out
}

// inTurn does something on one host after the other.
func (cl *cluster) inTurn(do func(name string, h *remote) error) error {
	for _, name := range cl.order {
		if err := do(name, cl.hosts[name]); err != nil {
			return fmt.Errorf("%s: %w", cl.name, err)
		}
	}
	return nil
}

// each does something on every host at once.
func (cl *cluster) each(do func(name string, h *remote, mu *sync.Mutex) error) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var first error
	for name, h := range cl.hosts {
		wg.Go(func() {
			if err := do(name, h, &mu); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = fmt.Errorf("%s: %w", cl.name, err)
				}
			}
		})
	}
	wg.Wait()
	return first
}
