// Command run grades lvstui in the guest's kernel and writes docs/grading.md. `make grade` calls it at the root of the source
// tree:
//
//	CGO_ENABLED=0 go run ./lab/grade/run                       # everything
//	CGO_ENABLED=0 go run ./lab/grade/run rs-rp-filter pairs/   # scenarios with one of these in their names, and no document
//
// What is measured is kept beside the program that was graded, so that a run that was broken off goes on where it was.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"lvstui/lab/grade"
	"lvstui/lab/guest"
	"lvstui/probes/rules"
)

// document is what a complete run writes.
const document = "docs/grading.md"

func main() {
	switch {
	case grade.IsAgent():
		grade.Agent()
		return
	case guest.IsInit():
		guest.Init()
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	program := flag.String("program", "bin/lvstui", "the program to grade, linked statically")
	workers := flag.Int("j", 2, "clusters at a time in one guest")
	guests := flag.Int("guests", 1, "guests at a time")
	quick := flag.Bool("quick", false, "listen only where it matters most")
	partial := flag.Bool("partial", false, "write the document although scenarios are missing, and name these")
	judge := flag.Bool("judge", false, "measure nothing: take what an earlier run came to so far")
	note := flag.String("note", "", "a sentence for the document")
	flag.Parse()
	var err error
	if os.Getenv("LVSTUI_GUEST") != "" {
		err = measureAll(flag.Args(), *workers, *quick)
	} else {
		err = onMachine(ctx, setting{*program, *guests, *workers, *quick, *partial, *judge, *note}, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grade:", err)
		os.Exit(1)
	}
}

// chosen are the cases whose names have one of the words in them; without words all.
func chosen(only []string) ([]grade.Case, error) {
	cases, err := grade.Load()
	if err != nil || len(only) == 0 {
		return cases, err
	}
	var out []grade.Case
	for _, c := range cases {
		for _, o := range only {
			if strings.Contains(c.Name(), o) {
				out = append(out, c)
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no scenario has %s in its name; they lie in lab/grade/testdata", strings.Join(only, " or "))
	}
	return out, nil
}

// setting is how to run.
type setting struct {
	program               string
	guests, workers       int
	quick, partial, judge bool
	note                  string
}

// onMachine measures in guests and writes the document.
func onMachine(ctx context.Context, how setting, only []string) error {
	cases, err := chosen(only)
	if err != nil {
		return err
	}
	kept, err := openResults(how.program, len(only) == 0)
	if err != nil {
		return err
	}
	defer kept.close()
	// Hosts boot by their files there, with the programs that read these.
	img, err := guest.Prepare(ctx, guest.Options{Log: os.Stderr, Sets: []string{"netconfig"}})
	if err != nil {
		return err
	}
	began := time.Now()
	shares := make([][]grade.Case, how.guests)
	bare := map[string][]grade.Case{} // by the module that their kernel must not have
	n := 0
	for _, c := range cases {
		if _, ok := kept.of(c); ok || how.judge {
			continue
		}
		if c.Without() != "" {
			bare[c.Without()] = append(bare[c.Without()], c)
			continue
		}
		shares[n%how.guests] = append(shares[n%how.guests], c)
		n++
	}
	errs := make([]error, how.guests)
	var wg sync.WaitGroup
	for i, share := range shares {
		if len(share) > 0 {
			wg.Go(func() { errs[i] = inGuest(ctx, img, how, "", share, kept) })
		}
	}
	wg.Wait()
	for module, share := range bare {
		errs = append(errs, inGuest(ctx, img, how, module, share, kept))
	}
	var verdicts []grade.Verdict
	missing := 0
	for _, c := range cases {
		m, ok := kept.of(c)
		if !ok {
			missing++
			verdicts = append(verdicts, grade.Verdict{Case: c, Absent: true})
			continue
		}
		verdicts = append(verdicts, grade.Judge(c, m))
	}
	fmt.Fprintf(os.Stderr, "%d of %d scenarios are measured, after %.0f minutes\n", len(cases)-missing, len(cases), time.Since(began).Minutes())
	if len(only) > 0 {
		fmt.Print(grade.Details(verdicts))
	}
	for _, err := range errs {
		if err != nil && !how.partial {
			return err
		}
	}
	if len(only) > 0 {
		return nil
	}
	if missing > 0 && !how.partial {
		return fmt.Errorf("%d scenarios were not measured; run it again and it goes on with them", missing)
	}
	text := grade.Report(verdicts, rules.All(), grade.Machine{Kernel: img.Release, Note: how.note})
	if err := renameio.WriteFile(document, []byte(text), 0o644); err != nil {
		return err
	}
	if missing > 0 {
		return nil
	}
	return kept.remove()
}
