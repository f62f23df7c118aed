//go:build guest

package lab

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// counter reads one kernel counter of a host: "TcpExt.IPReversePathFilter", "Ip.InAddrErrors" or
// "rt_cache.in_martian_src" (which counts for the whole machine).
func counter(t *testing.T, l *Lab, host, name string) int {
	t.Helper()
	group, key, _ := strings.Cut(name, ".")
	total, found := 0, false
	err := l.Host(host).Do(func() error {
		if group == "rt_cache" {
			lines := readLines(t, "/proc/thread-self/net/stat/rt_cache")
			head := strings.Fields(lines[0])
			for _, line := range lines[1:] {
				for i, v := range strings.Fields(line) {
					if head[i] == key {
						n, err := strconv.ParseInt(v, 16, 64)
						if err != nil {
							return err
						}
						total, found = total+int(n), true
					}
				}
			}
			return nil
		}
		for _, file := range []string{"netstat", "snmp"} {
			lines := readLines(t, "/proc/thread-self/net/"+file)
			for i := 0; i+1 < len(lines); i += 2 {
				head, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
				for j := range head {
					if head[0] == group+":" && head[j] == key {
						total, _ = strconv.Atoi(values[j])
						found = true
					}
				}
			}
		}
		return nil
	})
	if err != nil || !found {
		t.Fatalf("counter %s of %s: found %v, %v", name, host, found, err)
	}
	return total
}

// connections are the lines of the director's connection table.
func connections(t *testing.T, l *Lab) []string {
	t.Helper()
	var lines []string
	l.Host(Director).Do(func() error {
		lines = readLines(t, "/proc/thread-self/net/ip_vs_conn")
		return nil
	})
	return lines[1:]
}

func readLines(t *testing.T, name string) []string {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	if len(lines) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return lines
}
