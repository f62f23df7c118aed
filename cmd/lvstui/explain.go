package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lvstui/probes"
	"lvstui/probes/rules"
)

func newExplain() *cobra.Command {
	form := formatText
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Say what a finding means, how to see it by hand and how to cure it",
		Long:  "explain prints the page of a finding. Without an id it lists them all.",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return ruleIDs(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listRules(form)
			}
			rule, ok := rules.Find(args[0])
			if !ok {
				return withHint(fmt.Errorf("there is no finding %q%s", args[0], didYouMean(args[0])), "lvstui explain, which lists them")
			}
			if form == formatJSON {
				return writeJSON(os.Stdout, ruleJSON(rule))
			}
			return writeAll(os.Stdout, []byte(probes.Text(rule, 90)))
		},
	}
	cmd.Flags().Var(&form, "format", "text for people, json for programs")
	return cmd
}

func ruleIDs() []string {
	var ids []string
	for _, r := range rules.Explained() {
		ids = append(ids, r.ID)
	}
	return ids
}

func listRules(form format) error {
	if form == formatJSON {
		all := []any{}
		for _, r := range rules.Explained() {
			all = append(all, ruleJSON(r))
		}
		return writeJSON(os.Stdout, all)
	}
	var b bytes.Buffer
	for _, r := range rules.Explained() {
		fmt.Fprintf(&b, "%-37s %-18s %s\n", r.ID, r.Stage, r.Title)
	}
	return writeAll(os.Stdout, b.Bytes())
}

func ruleJSON(r probes.Rule) map[string]any {
	return map[string]any{"id": r.ID, "title": r.Title, "stage": r.Stage, "breaks": r.Explain.Breaks,
		"by_hand": r.Explain.ByHand, "cure": r.Explain.Cure, "source": r.Explain.Source, "depends_on": r.DependsOn, "tell_apart": r.Explain.Apart, "judged": r.Judge != nil}
}

// didYouMean offers the ids that contain a part of the word, or else those that share most of its words.
func didYouMean(word string) string {
	var near, alike []string
	most := 0
	for _, id := range ruleIDs() {
		if strings.Contains(id, word) || strings.Contains(word, id) {
			near = append(near, id)
		}
		switch n := sharedWords(id, word); {
		case n == 0 || n < most:
		case n > most:
			alike, most = []string{id}, n
		default:
			alike = append(alike, id)
		}
	}
	if len(near) == 0 && len(alike) <= 4 {
		near = alike
	}
	switch n := len(near); {
	case n == 0:
		return ""
	case n > 6:
		return fmt.Sprintf("; did you mean %s or one of %d more?", strings.Join(near[:4], " or "), n-4)
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// sharedWords counts the words between hyphens that both ids have, but for the short ones.
func sharedWords(a, b string) (n int) {
	words := strings.Split(b, "-")
	for _, w := range strings.Split(a, "-") {
		if len(w) > 2 && slices.Contains(words, w) {
			n++
		}
	}
	return n
}
