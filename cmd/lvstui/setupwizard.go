package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"charm.land/huh/v2"

	"lvstui/fixes"
	"lvstui/lvs"
	"lvstui/probes"
	"lvstui/probes/rules"
	"lvstui/ui/kit"
	"lvstui/ui/wizard"
)

// setupWizard asks what the host does not show: on the screen, or with ACCESSIBLE set line by line.
func setupWizard(ctx context.Context, opt setupOptions) error {
	const instead = "lvstui setup director --help, or lvstui setup real-server --help"
	if err := needTerminal(instead); err != nil {
		return withHint(errors.New("setup needs to know as what, and there is no terminal to ask on"), instead)
	}
	if !lineByLine() {
		if t := opt.terms; t.yes || t.persist || t.noPersist || t.root != "" {
			return withHint(errors.New("setup: the screen asks for this itself"), "the same with director or real-server, or with ACCESSIBLE=1")
		}
		return runTUI(ctx, tuiOptions{vips: vipOf(opt), within: opt.terms.within, readOnly: opt.terms.dryRun, screen: "Setup"})
	}
	h := thisHost{root: opt.terms.root, vips: vipOf(opt)}
	seen, err := h.look(ctx)
	if err != nil {
		return err
	}
	report := probes.Diagnose(rules.All(), []probes.Observation{{Snapshot: seen}}, probes.Options{VIPs: h.vips})
	var sheet wizard.Sheet
	sheet.SetFacts(wizard.Facts{Snapshot: seen, Roles: report.Roles, VIPs: h.vips})
	if err := promptSetup(&sheet, os.Stdin, os.Stderr); err != nil {
		return err
	}
	if err := opt.take(&sheet); err != nil {
		return err
	}
	if sheet.RoleGiven() == lvs.RoleDirector {
		return runSetup(ctx, opt, fixes.SetUpDirector)
	}
	return runSetup(ctx, opt, fixes.SetUpRealServer)
}

func vipOf(opt setupOptions) addrs {
	if vip := opt.vip.prefix(); vip.IsValid() {
		return addrs{vip.Addr()}
	}
	return nil
}

// promptSetup asks the open questions as plain lines, and says what was found for the others.
func promptSetup(sheet *wizard.Sheet, in io.Reader, out io.Writer) error {
	lines := &lineReader{in: in}
	for open := sheet.Open(); len(open) > 0; open = sheet.Open() {
		q := open[0]
		ask, help := wizard.Words(q)
		fmt.Fprintf(out, "\n%s\n", strings.Join(kit.Wrap(help, 78), "\n"))
		offers := sheet.Offers(q)
		if q == wizard.Role {
			offers = sheet.Roles()
		}
		for _, o := range offers {
			fmt.Fprintf(out, "  %s: %s\n", kit.Clean(o.Text), kit.Clean(o.From))
		}
		var text string
		field := huh.NewInput().Title(ask).Value(&text).Validate(func(text string) error { return sheet.Check(q, text) })
		if err := field.RunAccessible(out, lines); err != nil {
			return err
		}
		if lines.ended {
			return fmt.Errorf("the input ended before it was said: %s", ask)
		}
		sheet.Give(q, text)
	}
	fmt.Fprintln(out)
	for _, q := range sheet.Questions() {
		if a := sheet.Answer(q); a.Text != "" {
			fmt.Fprintf(out, "%s: %s (%s)\n", q, kit.Clean(a.Text), kit.Clean(a.From))
		}
	}
	return nil
}

// take makes flags of the answers.
func (o *setupOptions) take(sheet *wizard.Sheet) error {
	set := func(q wizard.ID, to interface{ Set(string) error }) error {
		text := sheet.Answer(q).Text
		if text == "" {
			return nil
		}
		return to.Set(strings.ReplaceAll(text, " ", ","))
	}
	err := errors.Join(set(wizard.VIP, &o.vip), set(wizard.Services, &o.services))
	if sheet.RoleGiven() == lvs.RoleDirector {
		o.scheduler, o.device = sheet.Answer(wizard.Scheduler).Text, sheet.Answer(wizard.Interface).Text
		return errors.Join(err, set(wizard.RealServers, &o.realServers))
	}
	return errors.Join(err, set(wizard.Gateway, &o.gateway))
}

// lineReader gives one line at a time: whoever reads through a buffer of its own must not take the next answer too.
type lineReader struct {
	in    io.Reader
	ended bool
}

func (l *lineReader) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := l.in.Read(b[n : n+1])
		n += k
		if err != nil {
			l.ended = l.ended || n == 0
			return n, err
		}
		if k == 1 && b[n-1] == '\n' {
			break
		}
	}
	return n, nil
}
