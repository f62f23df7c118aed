package grade

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/lab"
)

// cluster is a case that runs: its hosts and the switches between them.
type cluster struct {
	name     string // of the case, for messages
	hosts    map[string]*remote
	order    []string // hosts as they were plugged in
	vars     map[string]string
	files    map[string]string
	ports    map[string]string // switch port of "HOST NIC"
	bridges  map[string]string // bridge of a segment
	segments map[string]string // segment of "HOST NIC"
}

// remote is a host seen from outside.
type remote struct {
	*rpc.Client
	cmd *exec.Cmd
}

// built numbers what all clusters of this process have built, for interface names that are free.
var built atomic.Int64

// build starts a cluster's hosts and plugs them together.
func build(c Case, env []string) (*cluster, error) {
	cl := &cluster{name: c.Name(), hosts: map[string]*remote{}, vars: map[string]string{"DIR": "/run/grade"}, files: map[string]string{},
		ports: map[string]string{}, bridges: map[string]string{}, segments: map[string]string{}}
	for _, s := range c.scenarios() {
		for k, v := range s.Vars {
			cl.vars[k] = v
		}
		for k, v := range s.Files {
			cl.files[k] = v
		}
		for _, w := range s.Wires {
			if !slices.Contains(cl.order, w.Host) {
				cl.order = append(cl.order, w.Host)
			}
		}
	}
	var wg sync.WaitGroup
	started := make([]*remote, len(cl.order))
	errs := make([]error, len(cl.order))
	for i, name := range cl.order {
		wg.Go(func() { started[i], errs[i] = startHost(name, cl.files, env) })
	}
	wg.Wait()
	for i, name := range cl.order {
		if started[i] != nil {
			cl.hosts[name] = started[i]
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		err = cl.wire(c.wires())
	}
	if err != nil {
		cl.down()
		return nil, err
	}
	return cl, nil
}

// startHost starts the first process of a host and gives it the scenario's files.
func startHost(name string, files map[string]string, env []string) (*remote, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(slices.Concat(os.Environ(), env), agentEnv+"="+name, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL,
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	r := &remote{rpc.NewClient(pipes{out, in}), cmd}
	for file, text := range files {
		if err := r.Call("Host.Put", File{path.Join("/run/grade", file), text}, new(bool)); err != nil {
			return r, fmt.Errorf("host %s: %w", name, err)
		}
	}
	return r, nil
}

type pipes struct {
	io.ReadCloser
	in io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.in.Close(), p.ReadCloser.Close()) }

// wire makes the switches, in the guest's own network namespace, and cables with their other ends in the hosts. MACs tell
// host and interface, so that what is seen can be read.
func (cl *cluster) wire(wires []Wire) error {
	var batch strings.Builder
	for _, w := range wires {
		key := w.Host + " " + w.NIC
		if cl.bridges[w.Segment] == "" {
			cl.bridges[w.Segment] = fmt.Sprintf("b%d", built.Add(1))
			fmt.Fprintf(&batch, "link add %s type bridge mcast_snooping 0\nlink set %[1]s up\n", cl.bridges[w.Segment])
		}
		port := fmt.Sprintf("p%d", built.Add(1))
		cl.ports[key], cl.segments[key] = port, w.Segment
		host := slices.Index(cl.order, w.Host)
		mac := fmt.Sprintf("02:00:00:00:%02x:%02x", host+1, len(cl.ports))
		fmt.Fprintf(&batch, "link add %s mtu 9000 type veth peer name %s address %s netns %d\n", port, w.NIC, mac, cl.hosts[w.Host].cmd.Process.Pid)
		fmt.Fprintf(&batch, "link set %s master %s up\n", port, cl.bridges[w.Segment])
	}
	return ipBatch(batch.String())
}

func ipBatch(lines string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("switches: %w: %s", err, out)
	}
	return nil
}

// down ends all hosts and removes the switches; the kernel removes the cables with the hosts.
func (cl *cluster) down() {
	for _, h := range cl.hosts {
		_ = h.Close() // its standard input ends, and with it the host
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
	}
	var batch strings.Builder
	for _, b := range cl.bridges {
		fmt.Fprintf(&batch, "link del %s\n", b)
	}
	_ = ipBatch(batch.String()) // the guest goes anyway
}

// together acts on several hosts at once: each host's lines in their order.
func (cl *cluster) together(acts []Act) error {
	byHost := map[string][]string{}
	var hosts []string
	for _, a := range acts {
		if byHost[a.Host] == nil {
			hosts = append(hosts, a.Host)
		}
		byHost[a.Host] = append(byHost[a.Host], a.Lines...)
	}
	errs := make([]error, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { errs[i] = cl.act(Act{h, byHost[h]}) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// act does what an Act says, line by line. Neighbouring plain lines of ip, ipvsadm and sysctl are given to one process, which
// these programs are made for, because starting programs is what takes the time in an emulated machine.
func (cl *cluster) act(a Act) error {
	for i := 0; i < len(a.Lines); {
		line := cl.substitute(a.Lines[i])
		batch := batchOf(line)
		lines := []string{line}
		for i++; batch != nil && i < len(a.Lines) && slices.Equal(batchOf(cl.substitute(a.Lines[i])), batch); i++ {
			lines = append(lines, cl.substitute(a.Lines[i]))
		}
		var err error
		switch {
		case len(lines) == 1:
			err = cl.line(a.Host, line)
		case batch[0] == "sysctl":
			for _, line := range lines {
				batch = append(batch, strings.Fields(line)[2:]...)
			}
			_, err = run(cl.hosts[a.Host], Command{Args: batch})
		default:
			var in strings.Builder
			for _, line := range lines {
				in.WriteString(strings.TrimPrefix(line, batch[0]+" ") + "\n")
			}
			_, err = run(cl.hosts[a.Host], Command{Args: batch, Stdin: in.String()})
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %s: %w", cl.name, a.Host, strings.Join(lines, "; "), err)
		}
	}
	return nil
}

// batchOf is the command that does several lines like this one, nil if there is none.
func batchOf(line string) []string {
	words := strings.Fields(line)
	if len(words) < 2 || strings.ContainsAny(line, shellSigns) {
		return nil
	}
	switch {
	case words[0] == "ip" && slices.Contains([]string{"addr", "link", "route", "rule"}, words[1]):
		return []string{"ip", "-batch", "-"}
	case words[0] == "ipvsadm" && slices.Contains([]string{"-A", "-a", "-e", "-E"}, words[1]):
		return []string{"ipvsadm", "-R"}
	case words[0] == "sysctl" && words[1] == "-qw":
		return []string{"sysctl", "-qw"}
	}
	return nil
}

// shellSigns are what makes a line one for a shell.
const shellSigns = `"'|&;<>()$*?{}[]~` + "`"

// expand gives the scenario's variables; what else has a dollar is left to the shell.
func (cl *cluster) expand(name string) string {
	if v, ok := cl.vars[name]; ok {
		return os.Expand(v, cl.expand)
	}
	return "$" + name
}

func (cl *cluster) line(host, line string) error {
	words := strings.Fields(line)
	if host == "switch" {
		return cl.onSwitch(words)
	}
	h := cl.hosts[host]
	if h == nil {
		return fmt.Errorf("there is no such host")
	}
	switch words[0] {
	case "serve":
		return h.Call("Host.Serve", Connect{Protocol: words[1], To: words[2]}, new(bool))
	case "stop":
		return h.Call("Host.Stop", words[1], new(bool))
	case "wait":
		return wait(h, strings.TrimSpace(strings.TrimPrefix(line, "wait")))
	case "boots":
		return h.Call("Host.Boots", struct{}{}, new(bool))
	case "destination":
		if len(words) != 3 {
			return fmt.Errorf("want destination VIP:PORT RIP:PORT")
		}
		return h.Call("Host.Destination", [2]string{words[1], words[2]}, new(bool))
	case "hold", "connect":
		ask := Ask{Connect: Connect{Protocol: words[1], To: words[2]}, N: 4, Timeout: 2 * time.Second, Hold: words[0] == "hold"}
		var results []lab.Result
		return h.Call("Host.Dial", ask, &results)
	}
	args := words
	if mayFail := words[0] == "-"; mayFail {
		_, err := run(h, shellOr(words[1:], strings.TrimPrefix(line, "-")))
		if errors.As(err, new(failed)) {
			err = nil
		}
		return err
	}
	_, err := run(h, shellOr(args, line))
	return err
}

// shellOr splits a plain line into words and leaves the others to a shell.
func shellOr(words []string, line string) Command {
	if strings.ContainsAny(line, shellSigns) {
		return Command{Args: []string{"bash", "-c", line}}
	}
	return Command{Args: words}
}

// failed is a command that ran and came to no good.
type failed struct {
	exit int
	text string
}

func (f failed) Error() string { return fmt.Sprintf("exit status %d: %s", f.exit, f.text) }

func run(h *remote, c Command) (Output, error) {
	var out Output
	if err := h.Call("Host.Run", c, &out); err != nil {
		return out, err
	}
	if out.Exit != 0 {
		return out, failed{out.Exit, strings.TrimSpace(string(out.Stdout) + string(out.Stderr))}
	}
	return out, nil
}

// wait repeats a command until it succeeds.
func wait(h *remote, line string) error {
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if _, err = run(h, shellOr(strings.Fields(line), line)); err == nil {
			return nil
		}
	}
	return err
}

// onSwitch pulls a cable, plugs it into a segment, gives a host another card, or sets what the kernel has once for all hosts.
func (cl *cluster) onSwitch(words []string) error {
	if words[0] == "sysctl" {
		return hostless(words)
	}
	if len(words) < 3 {
		return fmt.Errorf("want unplug HOST NIC, plug HOST NIC SEGMENT, card HOST NIC SEGMENT, child HOST NIC OTHER-HOST NAME KIND [mode MODE], or sysctl -qw KEY=VALUE")
	}
	if words[0] == "child" {
		return cl.child(words[1:])
	}
	port := cl.ports[words[1]+" "+words[2]]
	switch words[0] {
	case "unplug":
		return ipBatch("link set " + port + " nomaster\n")
	case "plug":
		return ipBatch("link set " + port + " master " + cl.bridges[words[3]] + "\n")
	}
	if words[0] == "card" && len(words) == 4 && cl.hosts[words[1]] != nil {
		return cl.card(cl.hosts[words[1]], words[2], cl.bridges[words[3]])
	}
	return fmt.Errorf("a switch cannot %q", words[0])
}

// card gives a host a card of the guest's with its driver, where a veth will not do, and plugs the other end of its cable into a segment.
// There are two cards, so one host of one cluster can have one; the kernel takes it back when the host is gone.
func (cl *cluster) card(h *remote, nic, bridge string) error {
	if err := hostless([]string{"modprobe", "vmxnet3"}); err != nil {
		return err
	}
	ends, err := filepath.Glob("/sys/class/net/*/device/driver/module")
	if err != nil || len(ends) != 2 {
		return fmt.Errorf("the guest has %d free cards, not 2", len(ends))
	}
	name := func(end string) string { return strings.Split(end, "/")[4] }
	return ipBatch(fmt.Sprintf("link set %s netns %d name %s\nlink set %s master %s up\n", name(ends[0]), h.cmd.Process.Pid, nic, name(ends[1]), bridge))
}

// hostless runs a command outside of all hosts, in the guest's own network namespace.
func hostless(words []string) error {
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// child makes a macvlan or ipvlan of one host's card and moves it into another host. Neither can do that itself, because the kernel
// looks for the other host's process among those that the asker sees.
func (cl *cluster) child(words []string) error {
	if len(words) < 5 || cl.hosts[words[0]] == nil || cl.hosts[words[2]] == nil {
		return fmt.Errorf("want child HOST NIC OTHER-HOST NAME KIND [mode MODE]")
	}
	pid := func(host string) string { return fmt.Sprint(cl.hosts[host].cmd.Process.Pid) }
	args := append([]string{"-t", pid(words[0]), "-n", "ip", "link", "add", "link", words[1], "name", words[3], "netns", pid(words[2]), "type"}, words[4:]...)
	return hostless(append([]string{"nsenter"}, args...))
}

func (cl *cluster) substitute(s string) string { return os.Expand(s, cl.expand) }
