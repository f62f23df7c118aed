// Package collect reads this host's facts into a lvs.Snapshot. It only looks: it loads no kernel module, sends no
// packet and changes no setting. A source that cannot be read leaves its part of the Snapshot nil and a Gap that says
// why. Everything is read in the network namespace of the calling thread.
package collect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
	"lvstui/lvs"
)

// Options bound and direct a look at the host. The zero value is right for the host lvstui was started on.
type Options struct {
	// VIPs and Clients are addresses the operator named, besides those found on the host.
	VIPs    []netip.Addr
	Clients []netip.Addr
	// Marks are firewall marks to ask routes with, besides those of the fwmark services.
	Marks []uint32
	// Host replaces the host's name: network namespaces of one machine share theirs.
	Host string
	// Deadline is the time for the whole look, 5 s when zero. What was not reached by then is a Gap.
	Deadline time.Duration
	// ConnLimit is how many entries of the connection table are read at most, 4096 when zero.
	ConnLimit int
	// ConnDeadline is the time for reading the connection table, 250 ms when zero.
	ConnDeadline time.Duration
	// RuleLimit is how many packet filter rules are read at most, 20,000 when zero.
	RuleLimit int
	// Proc is where procfs is mounted, "/proc" when empty.
	Proc string
	// Root is the root of the file system that owners' configuration is looked for in, "/" when empty.
	Root string
	// Environ is the environment that SSH_CONNECTION is looked for in, the process's own when nil.
	Environ []string
}

func (o Options) withDefaults() Options {
	if o.Deadline <= 0 {
		o.Deadline = 5 * time.Second
	}
	if o.ConnLimit <= 0 {
		o.ConnLimit = 4096
	}
	if o.ConnDeadline <= 0 {
		o.ConnDeadline = 250 * time.Millisecond
	}
	if o.RuleLimit <= 0 {
		o.RuleLimit = 20000
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	return o
}

// collector is one look at the host. Its methods read one source each, in the order that Collect calls them.
type collector struct {
	opt      Options
	deadline time.Time
	proc     procfs
	modules  modules
	s        *lvs.Snapshot

	links   map[int]lvs.Link // by index
	vips    []netip.Addr
	clients []lvs.Client
	selves  []lvs.Client        // this host in place of a client: its connections to its own VIPs
	owned   map[netip.Addr]bool // this host's addresses, once asked for
	running []process           // processes, once listed
}

// Collect reads the facts of the calling thread's network namespace. A caller that has entered a namespace keeps its
// goroutine locked to the thread while Collect runs. Sources that cannot be read become Gaps; an error means that
// nothing can be read here: no Linux, or no procfs.
func Collect(ctx context.Context, opt Options) (*lvs.Snapshot, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("looking at this host needs Linux, and this is %s; open a snapshot file with --from FILE", runtime.GOOS)
	}
	// The namespace belongs to the thread, so the goroutine must not move while sockets are opened.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	opt = opt.withDefaults()
	c := &collector{
		opt: opt, deadline: time.Now().Add(opt.Deadline), proc: procfs{opt.Proc},
		s: &lvs.Snapshot{Schema: lvs.SnapshotSchema, TakenAt: time.Now().UTC().Truncate(time.Millisecond), Gaps: []lvs.Gap{}},
	}
	if d, ok := ctx.Deadline(); ok && d.Before(c.deadline) {
		c.deadline = d
	}
	if err := c.identity(); err != nil {
		return nil, err
	}
	c.modules = readModules(c.proc, opt.Root, c.s.Kernel)
	c.readKernelModules()
	c.s.Machine = machine(opt.Root)

	for _, source := range []struct {
		name lvs.Source
		read func()
	}{
		{lvs.SourceCounters, c.counters}, // first: the route questions below move one of them
		{lvs.SourceLinks, c.readLinks},
		{lvs.SourceAddresses, c.readAddresses},
		{lvs.SourceRules, c.readRules},
		{lvs.SourceRoutes, c.readRoutes},
		{lvs.SourceSysctls, c.readSysctls},
		{lvs.SourceIPVS, c.readIPVS},
		{lvs.SourceSockets, c.readSockets},
		{lvs.SourceClients, c.readClients},
		{lvs.SourceAnswers, c.askRoutes},
		{lvs.SourceNeighbours, c.readNeighbours}, // after the addresses that matter are known
		{lvs.SourceNetfilter, c.readNetfilter},
		{lvs.SourceOwners, c.readOwners},
		{lvs.SourceFiles, c.readFiles},
	} {
		if err := ctx.Err(); err != nil || time.Now().After(c.deadline) {
			c.gap(source.name, "not read: the time for the whole look was over (%v); try again when the host is less busy", opt.Deadline)
			continue
		}
		source.read()
	}
	c.readSession()
	arrange.By(c.s.Gaps, func(a, b lvs.Gap) int {
		if n := strings.Compare(string(a.Source), string(b.Source)); n != 0 {
			return n
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	return c.s, nil
}

// identity reads who and where we are.
func (c *collector) identity() error {
	status, err := c.proc.read("thread-self/status")
	if err != nil {
		return fmt.Errorf("cannot read %s/thread-self/status: %w; is procfs mounted? (mount -t proc proc /proc)", c.proc.root, err)
	}
	c.s.Capabilities = parseCaps(status)
	c.s.UID = os.Geteuid()
	c.s.NetNS, _ = os.Readlink(c.proc.path("thread-self/ns/net"))
	c.s.Host = c.opt.Host
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		c.s.Kernel = unix.ByteSliceToString(uts.Release[:])
		if c.s.Host == "" {
			c.s.Host = unix.ByteSliceToString(uts.Nodename[:])
		}
	}
	return nil
}

func (c *collector) gap(src lvs.Source, format string, args ...any) {
	c.s.Gaps = append(c.s.Gaps, lvs.Gap{Source: src, Reason: fmt.Sprintf(format, args...)})
}

// gapError records why a source could not be read. A refusal names the capability that lifts it.
func (c *collector) gapError(src lvs.Source, what string, err error) {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		c.gapCapability(src, what, "CAP_NET_ADMIN")
		return
	}
	c.gap(src, "%s: %v", what, err)
}

func (c *collector) gapCapability(src lvs.Source, what, capability string) {
	c.s.Gaps = append(c.s.Gaps, lvs.Gap{Source: src, Capability: capability,
		Reason: what + ": not permitted without " + capability + "; run it as root: sudo lvstui"})
}

// late says that the time for the whole look is over.
func (c *collector) late() bool { return time.Now().After(c.deadline) }
