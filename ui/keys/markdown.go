package keys

import (
	"fmt"
	"strings"
)

//go:generate go test -run TestMarkdown -update .

// Markdown is docs/keys.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Keys\n\nThis page is generated from the key table of the program (`go generate ./ui/keys`).\n" +
		"`?` inside lvstui shows the keys that are valid where you are.\n")
	for _, s := range Table() {
		fmt.Fprintf(&b, "\n## %s\n\n| key | does |\n|---|---|\n", s.Title)
		for _, k := range s.Bindings {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(k.Show, " ", "` `"), k.Long)
		}
	}
	return b.String()
}
