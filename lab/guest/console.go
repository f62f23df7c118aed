package guest

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// memoryFile is a file without a name, for qemu to read or write as descriptor: nothing is left behind.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("lvstui-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ConsoleLog is what the guest's kernel and init have said, as they said it: at most the last 64 KiB.
func (vm *VM) ConsoleLog() string {
	info, err := vm.console.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-64<<10)
	data, err := io.ReadAll(io.NewSectionReader(vm.console, from, info.Size()-from))
	if err != nil {
		return ""
	}
	return string(data)
}

// saveConsole keeps the console of a guest that failed, in the cache, and gives the path. Only the last
// one is kept.
func (vm *VM) saveConsole() string {
	name := filepath.Join(vm.cache, "console-last.log")
	if err := renameio.WriteFile(name, []byte(vm.ConsoleLog()), 0o600); err != nil {
		return "no file: " + err.Error()
	}
	return name
}

// consoleTail gives the last lines of the console, and before them those that say what it died of.
func (vm *VM) consoleTail(lines int) string {
	var all []string
	for line := range strings.Lines(vm.ConsoleLog()) {
		if line = strings.TrimSpace(printable(line)); line != "" {
			all = append(all, "  "+line)
		}
	}
	cut := max(0, len(all)-lines)
	var out []string
	for _, line := range all[:cut] {
		if len(out) < 4 && (strings.Contains(line, "Kernel panic") || strings.Contains(line, "BUG:") || strings.Contains(line, " panic: ")) {
			out = append(out, line)
		}
	}
	return strings.Join(append(out, all[cut:]...), "\n")
}

// printable drops what could move a terminal's cursor or colour it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd {
			return -1
		}
		return r
	}, s)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - 4<<10; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
