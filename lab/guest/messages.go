package guest

import "io"

// protocolVersion is in both greetings: the two sides are the same executable or the boot fails.
const protocolVersion = 1

// hello is the guest's greeting.
type hello struct {
	Version int      `json:"version"`
	Release string   `json:"release"`
	Uptime  float64  `json:"uptime"` // seconds since the kernel started
	Trouble []string `json:"trouble,omitempty"`
}

// welcome is the answer to it.
type welcome struct {
	Version int `json:"version"`
}

// What a session can ask for.
const (
	doRun = "run"
	doPut = "put" // stdin becomes the file
	doGet = "get" // the file becomes stdout
)

type request struct {
	Do    string   `json:"do"`
	Args  []string `json:"args,omitempty"`
	Env   []string `json:"env,omitempty"`
	Dir   string   `json:"dir,omitempty"`
	UID   int      `json:"uid,omitempty"`
	NetNS string   `json:"netns,omitempty"`
	TTY   *Winsize `json:"tty,omitempty"`
	Stdin bool     `json:"stdin,omitempty"`

	Path string `json:"path,omitempty"`
	Mode uint32 `json:"mode,omitempty"`
}

// wish is about a session that runs.
type wish struct {
	Signal int      `json:"signal,omitempty"`
	Resize *Winsize `json:"resize,omitempty"`
}

// result ends a session.
type result struct {
	Exit  int    `json:"exit"`
	Error string `json:"error,omitempty"` // why nothing ran, or the file was not copied
	Mode  uint32 `json:"mode,omitempty"`
}

// Winsize is the size of a terminal in characters.
type Winsize struct {
	Rows, Cols uint16
}

// Cmd is a command to run in the guest.
type Cmd struct {
	Args []string // Args[0] is looked up in the guest's PATH
	// Env is added to the guest's environment: PATH, HOME, TERM and LVSTUI_GUEST=1.
	Env   []string
	Dir   string // empty: /root, or / for others than root
	UID   int    // 0 is root; Nobody is an ordinary user
	NetNS string // a network namespace below /run/netns, as "ip netns" makes them
	// TTY, when not nil, gives the command a terminal of its own with that size. Stderr is then unused.
	TTY    *Winsize
	Resize <-chan Winsize // new sizes of the terminal; may be nil
	// Signals are sent on to the command's process group; may be nil. Numbers are Linux's.
	Signals <-chan int

	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Program is the path in the guest of the executable that is its init, for running commands of ours.
const Program = "/usr/bin/lvstui"

// Nobody is the user without rights in the guest.
const Nobody = 65534
