package ui

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"lvstui/lvs"
	"lvstui/ui/internal/sample"
)

// busy is a director's facts n looks later: all numbers have moved and a new flow has come.
func busy(n int) Facts {
	f := sample.BrokenDirector()
	f.At = f.At.Add(time.Duration(n) * time.Second)
	f.Snapshot.IPVS.Services = sample.Later(n + n*n%7)
	for i := range min(n, 40) { // one new flow a second, the others grow older
		w := f.Flows[0]
		w.ID, w.FirstSeen = uint64(n-i+100), f.At.Add(-time.Duration(i)*time.Second)
		f.Flows = append(slices.Clip(f.Flows), w)
	}
	stage := &f.Report.Path[lvs.AckAtDirector.Index()]
	stage.Due, stage.Note = n, fmt.Sprintf("0 of %d", n)
	return f
}

func BenchmarkView(b *testing.B) {
	for _, screen := range []string{"1", "2", "3", "4"} {
		b.Run(screen, func(b *testing.B) {
			m := newRoot(context.Background(), Options{Hosts: hostsOf(&plainHost{name: "director", facts: busy(1)})})
			m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
			m.Update(lookedMsg{facts: busy(1)})
			m.Update(key(screen))
			b.ReportAllocs()
			for b.Loop() {
				m.View()
			}
		})
	}
}

// BenchmarkSetFacts is what one look costs with many flows and a big table.
func BenchmarkSetFacts(b *testing.B) {
	f := busy(1)
	for len(f.Flows) < 5000 {
		w := f.Flows[0]
		w.ID = uint64(len(f.Flows))
		f.Flows = append(f.Flows, w)
	}
	svc := f.Snapshot.IPVS.Services[0]
	for i := range 1000 {
		v := svc
		v.Port = uint16(i + 1000)
		f.Snapshot.IPVS.Services = append(f.Snapshot.IPVS.Services, v)
	}
	m := newRoot(context.Background(), Options{Hosts: hostsOf(&plainHost{name: "director", facts: f})})
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	b.ReportAllocs()
	for b.Loop() {
		m.Update(lookedMsg{facts: f})
	}
}

// counter counts what goes to the terminal.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += len(p)
	return len(p), nil
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// BenchmarkBytes runs the real program and reports the bytes that one look a second sends to a terminal of 120×40.
func BenchmarkBytes(b *testing.B) {
	for _, screen := range []string{"1", "2", "3", "4"} {
		b.Run(screen, func(b *testing.B) {
			out := &counter{}
			m := newRoot(context.Background(), Options{Hosts: hostsOf(&plainHost{name: "director", facts: busy(0)}), Refresh: time.Hour})
			p := tea.NewProgram(m, tea.WithInput(new(bytes.Buffer)), tea.WithOutput(out), tea.WithFPS(60), tea.WithWindowSize(120, 40),
				tea.WithColorProfile(colorprofile.ANSI), tea.WithoutSignals(), tea.WithEnvironment([]string{"TERM=xterm-256color", "SSH_TTY=/dev/pts/1"}))
			done := make(chan error, 1)
			go func() { _, err := p.Run(); done <- err }()
			p.Send(lookedMsg{facts: busy(0)})
			time.Sleep(100 * time.Millisecond) // the size comes first, then keys count
			p.Send(key(screen))
			time.Sleep(100 * time.Millisecond)
			before, n := out.count(), 0
			for b.Loop() {
				n++
				p.Send(lookedMsg{facts: busy(n)})
				time.Sleep(30 * time.Millisecond)
			}
			b.ReportMetric(float64(out.count()-before)/float64(n), "bytes/look")
			p.Quit()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
