package probes

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown is a rule's page of the documentation.
func Markdown(r Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s.\n\n", r.ID, strings.TrimSuffix(r.Title, "."))
	fmt.Fprintf(&b, "| | |\n|---|---|\n| Stage | `%s` |\n", r.Stage)
	if r.Judge == nil {
		fmt.Fprintf(&b, "| Judged on | %s |\n", onlySuspect)
	} else {
		fmt.Fprintf(&b, "| Judged on | %s |\n| Needs | %s |\n", words(r.Roles), words(r.Needs))
	}
	if len(r.DependsOn) > 0 {
		links := make([]string, 0, len(r.DependsOn))
		for _, id := range slices.Sorted(slices.Values(r.DependsOn)) {
			links = append(links, fmt.Sprintf("[%s](%s.md)", id, id))
		}
		fmt.Fprintf(&b, "| May be a symptom of | %s |\n", strings.Join(links, ", "))
	}
	if picture := Drawing(r.Stage); picture != "" {
		fmt.Fprintf(&b, "\n## Where it breaks\n\n%s", picture)
	}
	for _, part := range parts(r) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", part.heading, part.text)
	}
	return b.String()
}

// Index is the page that lists all rules' pages, in the order given.
func Index(rules []Rule) string {
	var b strings.Builder
	b.WriteString("# Findings\n\nWhat lvstui looks for, along the handshake path. `lvstui explain ID` shows the same pages.\n\n")
	b.WriteString("| Finding | Stage | What it is |\n|---|---|---|\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "| [%s](%s.md) | `%s` | %s |\n", r.ID, r.ID, r.Stage, r.Title)
	}
	return b.String()
}

// Text is a rule's page for a terminal of that many columns. Lines that hold a command are never broken, because they are
// there to be copied.
func Text(r Rule, width int) string {
	width = max(width, 40)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.ID, wrap(r.Title, width))
	if picture := Drawing(r.Stage); picture != "" {
		b.WriteString("\nWHERE IT BREAKS\n" + picture)
	}
	for _, part := range parts(r) {
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(part.heading))
		b.WriteString(plain(part.text, width))
	}
	b.WriteString("\nWHAT JUDGES IT\n" + about(r, width))
	return b.String()
}

// about says where a rule belongs and what it looks at.
func about(r Rule, width int) string {
	judged := words(r.Roles)
	if r.Judge == nil {
		judged = onlySuspect
	}
	text := wrap(fmt.Sprintf("Stage %s. Judged on %s.", r.Stage, judged), width) + "\n"
	if len(r.DependsOn) > 0 {
		text += wrap("May be a symptom of "+strings.Join(slices.Sorted(slices.Values(r.DependsOn)), ", ")+".", width) + "\n"
	}
	return text
}

// onlySuspect is what the page of an id without Judge says of it.
const onlySuspect = "no host: a suspect of flows that stall"

type part struct{ heading, text string }

func parts(r Rule) []part {
	e := r.Explain
	all := []part{{"What breaks", e.Breaks}, {"See it by hand", e.ByHand}, {"Tell it apart", e.Apart}, {"Cure", e.Cure}, {"Where it comes from", e.Source}}
	var out []part
	for _, p := range all {
		if p.text = strings.TrimSpace(p.text); p.text != "" {
			out = append(out, p)
		}
	}
	return out
}

// plain is Markdown as text for a terminal: paragraphs are filled, commands, which are indented by four spaces, kept.
func plain(text string, width int) string {
	var b strings.Builder
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			b.WriteString(wrap(strings.ReplaceAll(strings.Join(paragraph, " "), "`", ""), width) + "\n")
		}
		paragraph = nil
	}
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "    "):
			flush()
			b.WriteString(line + "\n")
		case strings.TrimSpace(line) == "":
			flush()
			b.WriteByte('\n')
		default:
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return b.String()
}

// wrap breaks text at spaces so that no line is wider than width, except for a word that is.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

func words[T ~string](list []T) string {
	if len(list) == 0 {
		return "any host"
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, string(v))
	}
	return strings.Join(out, ", ")
}
