package collect

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxProcFile bounds what is read of one procfs file that is read whole.
const maxProcFile = 4 << 20

// procfs reads below one mount of procfs. Files of the network namespace are read below thread-self: self is the
// thread group's leader, which may be in another namespace than this thread.
type procfs struct{ root string }

func (p procfs) path(name string) string { return filepath.Join(p.root, name) }

// read returns a file, of which the first maxProcFile bytes.
func (p procfs) read(name string) (string, error) {
	f, err := os.Open(p.path(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxProcFile))
	return string(b), err
}

// net opens a file of the thread's network namespace: "ip_vs" is /proc/thread-self/net/ip_vs.
func (p procfs) net(name string) (*os.File, error) { return os.Open(p.path("thread-self/net/" + name)) }

func (p procfs) readNet(name string) (string, error) { return p.read("thread-self/net/" + name) }

// modules tells which kernel modules can be asked without the question loading them. Many kernel interfaces load
// their module when somebody asks (request_module), which would be a change to the host.
type modules struct {
	// none says that this kernel loads no modules at all: asking is always harmless.
	none   bool
	loaded map[string]bool
}

func readModules(p procfs, root, release string) modules {
	m := modules{loaded: map[string]bool{}}
	text, err := p.read("modules")
	if os.IsNotExist(err) {
		m.none = true // CONFIG_MODULES is off
		return m
	}
	if off, err := p.read("sys/kernel/modules_disabled"); err == nil && strings.TrimSpace(off) == "1" {
		m.none = true
	}
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		m.loaded[name] = true
	}
	// What is built into the kernel is not in /proc/modules. A line is kernel/net/ipv4/inet_diag.ko.
	f, err := os.Open(filepath.Join(root, "lib/modules", release, "modules.builtin"))
	if err != nil {
		return m
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, maxProcFile)); lines.Scan(); {
		name := strings.TrimSuffix(filepath.Base(lines.Text()), ".ko")
		m.loaded[strings.ReplaceAll(name, "-", "_")] = true
	}
	return m
}

// present says that the module is there, or that asking cannot load it.
func (m modules) present(name string) bool { return m.none || m.loaded[name] }
