package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// stateDir holds what other processes need to know of the lab that is up.
const stateDir = "/run/lvstui-lab"

// State says which lab is up. It is a file, so that what a killed lab left behind can be found and removed.
type State struct {
	PID       int         `json:"pid"` // the process that runs the lab
	StartedAt time.Time   `json:"started_at"`
	Topology  Topology    `json:"topology"`
	VIP       string      `json:"vip"`
	Faults    []string    `json:"faults"` // those in force now
	Hosts     []HostState `json:"hosts"`
	Switch    string      `json:"switch"` // path of the namespace with the bridges
}

// HostState is one host of a lab that another process runs.
type HostState struct {
	Name  string `json:"name"`
	NetNS string `json:"netns"` // path of its network namespace
}

// Host opens the host, to run something in it.
func (h HostState) Host() *Host { return &Host{Name: h.Name, path: h.NetNS} }

// ErrNotUp says that no lab is up on this machine.
var ErrNotUp = errors.New("no lab is up here; type: lvstui lab up")

// ReadState tells which lab is up, whichever process runs it. It returns ErrNotUp when none is.
func ReadState() (State, error) {
	lock, err := tryLock()
	if err == nil {
		lock.Close()
		return State{}, ErrNotUp
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return State{}, err
	}
	return readStateFile()
}

func readStateFile() (State, error) {
	var s State
	data, err := os.ReadFile(filepath.Join(stateDir, "state.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", filepath.Join(stateDir, "state.json"), err)
	}
	return s, nil
}

// Clear removes what a killed lab left behind. It refuses, with an error, while a lab is up: see Ask.
func Clear() error {
	c, err := lockMachine()
	if err != nil {
		return err
	}
	return c.release()
}

// claim is the right to run the one lab of this machine.
type claim struct {
	lock    *os.File
	control net.Listener
}

// claimMachine takes the right, clears leftovers away and writes the state of the lab to come.
func claimMachine(s State) (*claim, error) {
	c, err := lockMachine()
	if err != nil {
		return nil, err
	}
	err = c.removeNamespaces()
	if err == nil {
		err = s.namesAreFree()
	}
	if err == nil {
		err = writeState(s)
	}
	if err != nil {
		c.lock.Close()
		return nil, err
	}
	return c, nil
}

// namesAreFree refuses to build where somebody else has namespaces of the same names: they would be removed with the lab.
func (s State) namesAreFree() error {
	for _, path := range s.paths() {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("there is a network namespace %s that is not the lab's; take it away first: ip netns del %s", path, filepath.Base(path))
		}
	}
	return nil
}

func (s State) paths() []string {
	paths := []string{s.Switch}
	for _, h := range s.Hosts {
		paths = append(paths, h.NetNS)
	}
	return paths
}

func lockMachine() (*claim, error) {
	lock, err := tryLock()
	if errors.Is(err, unix.EWOULDBLOCK) {
		if s, stateErr := readStateFile(); stateErr == nil {
			return nil, fmt.Errorf("a lab is already up here (topology %s, process %d); type: lvstui lab down", s.Topology, s.PID)
		}
		return nil, errors.New("another lab is just starting or ending here; try again")
	}
	if err != nil {
		return nil, err
	}
	return &claim{lock: lock}, nil
}

// tryLock locks the state folder; the kernel lets go of the lock when the process ends, however it ends.
func tryLock() (*os.File, error) {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, fmt.Errorf("the lab's state folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(stateDir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the lab's lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("the lab's lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// release removes everything the lab had outside its process.
func (c *claim) release() error {
	if c.control != nil {
		c.control.Close()
	}
	err := c.removeNamespaces()
	for _, name := range []string{"state.json", "control.sock"} {
		if e := os.Remove(filepath.Join(stateDir, name)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, c.lock.Close())
}

// removeNamespaces removes those the state file names, and only those.
func (c *claim) removeNamespaces() error {
	s, err := readStateFile()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range s.paths() {
		if filepath.Dir(path) == netnsDir {
			errs = append(errs, deleteNetNS(path))
		}
	}
	return errors.Join(errs...)
}

func writeState(s State) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(stateDir, "state.json"), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("the lab's state: %w", err)
	}
	return nil
}

// state describes this lab, before it is built too.
func (l *Lab) state() State {
	s := State{PID: os.Getpid(), StartedAt: l.startedAt, Topology: l.spec.Topology, VIP: l.VIP(),
		Faults: append([]string{}, l.order...), Switch: filepath.Join(netnsDir, l.prefix+switchName)}
	for _, name := range hostNames {
		s.Hosts = append(s.Hosts, HostState{Name: name, NetNS: filepath.Join(netnsDir, l.prefix+name)})
	}
	return s
}
