//go:build linux

// Package live captures packets from the kernel: one AF_PACKET socket with a TPACKET_V3 ring over all
// interfaces of a network namespace. It gives what a Tracker needs and libpcap does not: direction,
// interface and destination MAC at once, nanosecond kernel time, stripped VLAN tags, and drops.
package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lvstui/capture"
)

// Options say what to capture. The zero value captures TCP, UDP, ARP and ICMP on all interfaces but lo.
type Options struct {
	Virtuals   []netip.Addr // VIPs: only their packets, and ARP for them; none: of all addresses
	Ports      []uint16     // of the virtual services; none: all
	Interfaces []string     // names; none: all except lo, also those that appear later

	// SSHConnection is the operator's environment variable of that name ("client port server port"). Without
	// Virtuals that session is left out: drawing a packet would send the next one.
	SSHConnection string

	Snap      int           // bytes kept of a frame; 0: 256
	BlockSize int           // bytes of a ring block, a power of two of whole pages; 0: 256 KiB
	Blocks    int           // 0: 128. Fewer than 8 lose packets at the first pause
	Retire    time.Duration // a block that is not full is handed over after this; 0: 10 ms

	// FixedRate turns off sampling under overload. Otherwise, when packets are dropped, only one half, one
	// quarter … of the flows is captured, by client port, until the drops end; Stats.Sample says so.
	FixedRate bool
}

// Frame is one captured packet. Data is valid only during the callback.
type Frame struct {
	capture.Packet
	Data []byte // as the kernel holds it: cut to Snap, without a stripped VLAN tag
	Link capture.LinkType
}

// Stats are counts since Open.
type Stats struct {
	Packets   uint64 // passed the filter, dropped ones included
	Drops     uint64 // of them lost because the ring was full
	Freezes   uint64 // times the ring was full
	Malformed uint64 // frames that could not be decoded
	Sample    int    // one in so many flows is captured; 1: all

	LinkEvents uint64 // changes of interfaces: see Capture.LinkEvents
}

// Capture is an open ring.
type Capture struct {
	fd    int
	wake  int // an event file: whatever is written to it ends wait
	ring  ring
	opts  Options
	loIdx int32
	allow []int32
	links *linkWatch

	mu    sync.Mutex // guards what Stats and Interfaces share with Run
	stats Stats
	names map[int32]string

	stop    chan struct{}
	stopped sync.Once
	running sync.WaitGroup
	closed  bool
}

const (
	defaultSnap = 256
	// A block that is not full when its time is over is handed over half empty. In the same 32 MiB blocks of 256 KiB
	// bridge a pause of 0.9 s at 300,000 packets/s, blocks of 1 MiB 0.4 s.
	defaultBlock  = 256 << 10
	defaultBlocks = 128
	defaultRetire = 10 * time.Millisecond
	maxBatch      = 512
	maxNames      = 4096
)

// Open opens the socket in the network namespace of the calling thread. Packets are kept from the moment
// it returns.
func Open(o Options) (*Capture, error) {
	o = o.withDefaults()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, explain("open a packet socket", err)
	}
	c := &Capture{fd: fd, wake: -1, opts: o, names: map[int32]string{}, stop: make(chan struct{})}
	c.stats.Sample = 1
	if err := c.setUp(); err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.Snap <= 0 {
		o.Snap = defaultSnap
	}
	if o.BlockSize <= 0 {
		o.BlockSize = defaultBlock
	}
	if o.Blocks <= 0 {
		o.Blocks = defaultBlocks
	}
	if o.Retire <= 0 {
		o.Retire = defaultRetire
	}
	return o
}

// setUp makes the socket ready in the only order that lets no unwanted packet in: it was made for protocol
// 0, which matches nothing, and gets its protocol by bind, last.
func (c *Capture) setUp() (err error) {
	if c.links, err = openLinkWatch(); err != nil {
		return err
	}
	if c.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return explain("make an event file", err)
	}
	c.loIdx, _ = c.indexOf("lo")
	for _, name := range c.opts.Interfaces {
		i, err := c.indexOf(name)
		if err != nil {
			return fmt.Errorf("cannot capture on interface %q: %w; list them with: ip -br link", name, err)
		}
		c.allow = append(c.allow, i)
		c.names[i] = name
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return explain("choose TPACKET_V3", err)
	}
	if err := c.attach(1); err != nil {
		return err
	}
	if err := c.ring.open(c.fd, c.opts); err != nil {
		return err
	}
	// Without it the kernel takes the time when it fills the ring, later and not always in order.
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return explain("ask for kernel timestamps", err)
	}
	if err := unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)}); err != nil {
		return explain("bind the packet socket", err)
	}
	return nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// attach puts the filter for one in sample flows on the socket, replacing the one before without a gap.
func (c *Capture) attach(sample int) error {
	prog, err := buildFilter(filterSpec{
		virtuals: c.opts.Virtuals, ports: c.opts.Ports, allow: c.allow, loopback: c.loIdx,
		ssh: parseSSH(c.opts.SSHConnection), snap: uint32(c.opts.Snap), sample: sample,
	})
	if err != nil {
		return fmt.Errorf("cannot assemble the packet filter: %w", err)
	}
	if err := unix.SetsockoptSockFprog(c.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}); err != nil {
		return explain("attach the packet filter", err)
	}
	return nil
}

// Run hands over captured packets in order of time within each call, until ctx ends (it then returns nil),
// Close is called, or the socket fails. It must not be called twice at the same time.
func (c *Capture) Run(ctx context.Context, fn func([]Frame)) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errors.New("the capture is closed")
	}
	c.running.Add(1)
	c.mu.Unlock()
	defer c.running.Done()
	c.forgetWake()
	woken := make(chan struct{})
	sleepOn := context.AfterFunc(ctx, func() {
		c.wakeUp()
		close(woken)
	})
	defer func() {
		if !sleepOn() {
			<-woken // Close must not take the event file away before
		}
	}()
	batch := make([]Frame, 0, maxBatch)
	load := loadWatch{sample: 1}
	for {
		if err := c.drain(ctx, batch, fn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.stop:
			return nil
		default:
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
		if err := c.adapt(&load); err != nil {
			return err
		}
	}
}

// drain hands over every block that the kernel has finished.
func (c *Capture) drain(ctx context.Context, batch []Frame, fn func([]Frame)) error {
	for ctx.Err() == nil {
		block := c.ring.take()
		if block == nil {
			return nil
		}
		malformed, err := c.deliver(block, batch, fn)
		c.ring.giveBack()
		if malformed > 0 {
			c.mu.Lock()
			c.stats.Malformed += malformed
			c.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver decodes one block in place. Blocks hold more packets than are good for the cache: it comes in pieces.
func (c *Capture) deliver(block []byte, batch []Frame, fn func([]Frame)) (malformed uint64, err error) {
	it := iterate(block)
	for {
		batch = batch[:0]
		for len(batch) < maxBatch && it.left > 0 {
			batch = batch[:len(batch)+1]
			f := &batch[len(batch)-1]
			if err := it.next(f); err != nil {
				return malformed, err
			}
			c.name(f.Interface)
			if capture.Decode(f.Data, f.Link, &f.Packet) != nil {
				malformed++
				batch = batch[:len(batch)-1]
			}
		}
		if len(batch) == 0 {
			return malformed, nil
		}
		sortByTime(batch)
		fn(batch)
	}
}

// sortByTime puts right what two CPUs wrote into the ring side by side. Most batches are in order.
func sortByTime(batch []Frame) {
	byTime := func(a, b Frame) int {
		switch {
		case a.Time < b.Time:
			return -1
		case a.Time > b.Time:
			return 1
		}
		return 0
	}
	for i := 1; i < len(batch); i++ {
		if batch[i].Time < batch[i-1].Time {
			slices.SortStableFunc(batch, byTime)
			return
		}
	}
}

// Stats returns the counts up to now.
func (c *Capture) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readStats()
	return c.stats
}

// readStats adds what the kernel counted since the last reading, which resets its counters.
func (c *Capture) readStats() {
	if c.closed {
		return
	}
	if s, err := unix.GetsockoptTpacketStatsV3(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		c.stats.Packets += uint64(s.Packets)
		c.stats.Drops += uint64(s.Drops)
		c.stats.Freezes += uint64(s.Freeze_q_cnt)
	}
}

// Interfaces names the interfaces that packets came from so far, by Packet.Interface.
func (c *Capture) Interfaces() map[int32]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.names)
}

// Close ends Run and gives the ring back. It must not be called from within Run's callback.
func (c *Capture) Close() error {
	c.stopped.Do(func() {
		close(c.stop)
		c.wakeUp()
	})
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.readStats()
	c.closed = true
	return c.release()
}

func (c *Capture) release() error {
	c.ring.close()
	if c.links != nil {
		c.links.close()
	}
	if c.wake >= 0 {
		unix.Close(c.wake)
	}
	return unix.Close(c.fd)
}

// indexOf and name ask through the socket, so that they ask in the socket's namespace whichever thread they
// run on.
func (c *Capture) indexOf(name string) (int32, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int32(req.Uint32()), nil
}

func (c *Capture) name(index int32) {
	if _, ok := c.names[index]; ok || len(c.names) >= maxNames { // only Run writes: reading needs no lock here
		return
	}
	name := ""
	if req, err := unix.NewIfreq(""); err == nil {
		req.SetUint32(uint32(index))
		if unix.IoctlIfreq(c.fd, unix.SIOCGIFNAME, req) == nil {
			name = req.Name()
		}
	}
	c.mu.Lock()
	c.names[index] = name
	c.mu.Unlock()
}

// explain says what failed, why, and what to do about it.
func explain(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("cannot %s: %w; capturing needs the capability CAP_NET_RAW: run lvstui with sudo", what, err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("cannot %s: %w; the kernel has no packet sockets: sudo modprobe af_packet", what, err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("cannot %s: %w; the kernel has no memory for the ring: see free -m", what, err)
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}
