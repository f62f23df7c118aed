package wizard

import (
	"slices"
	"strings"

	"charm.land/bubbles/v2/key"
	"charm.land/huh/v2"
)

// Field is one question as a huh field: a choice among what the host offers, or a line to type.
type Field struct {
	huh.Field
	ID ID
	// Typed says that the answer is typed, and not chosen.
	Typed bool

	text string
	one  string
	many []string
}

// other is the value of the choice OtherText.
const other = ""

// NewField makes the field of a question. typed asks for a line to type even where there is something to choose from; draft
// is what stands there at first, or "" for the answer so far.
func (s *Sheet) NewField(q ID, typed bool, draft string) *Field {
	f := &Field{ID: q, Typed: typed, text: draft}
	if draft == "" {
		f.text = s.Answer(q).Text
	}
	offers := s.Offers(q)
	if q == Role {
		offers = s.Roles()
	}
	f.Typed = typed || len(offers) == 0
	switch {
	case f.Typed:
		f.Field = huh.NewInput().Prompt("> ").CharLimit(400).Value(&f.text).Validate(func(text string) error { return s.Check(q, text) })
	case f.Many():
		f.many = chosen(f.text, offers)
		field := huh.NewMultiSelect[string]().Options(f.options(offers)...).Value(&f.many).Filterable(false).Validate(func(all []string) error {
			if slices.Contains(all, other) {
				return nil
			}
			return s.Check(q, strings.Join(all, " "))
		})
		if len(offers) > maxRows {
			field.Height(maxRows)
		}
		f.Field = field
	default:
		f.one = f.text
		field := huh.NewSelect[string]().Options(f.options(offers)...).Value(&f.one).Validate(func(one string) error {
			if one == other && Other(q) {
				return nil
			}
			return s.Check(q, one)
		})
		if len(offers) > maxRows {
			field.Height(maxRows)
		}
		f.Field = field
	}
	return f
}

// maxRows is how many choices are shown at once.
const maxRows = 9

// options are the offers, and the way to type something else.
func (f *Field) options(offers []Offer) []huh.Option[string] {
	width := 0
	for _, o := range offers {
		width = max(width, len(o.Text))
	}
	var out []huh.Option[string]
	for _, o := range offers {
		out = append(out, huh.NewOption(o.Text+strings.Repeat(" ", width-len(o.Text))+"  "+o.From, o.Text))
	}
	if Other(f.ID) {
		out = append(out, huh.NewOption(OtherText, other))
	}
	return out
}

// chosen are the offers that the answer so far names.
func chosen(answer string, offers []Offer) []string {
	var out []string
	for _, word := range words(answer) {
		if slices.ContainsFunc(offers, func(o Offer) bool { return o.Text == word }) {
			out = append(out, word)
		}
	}
	return out
}

// Many says that several choices may be marked.
func (f *Field) Many() bool { return !f.Typed && (f.ID == RealServers || f.ID == Services) }

// Value is the answer, and whether the person wants to type it instead.
func (f *Field) Value() (text string, wantsToType bool) {
	switch {
	case f.Typed:
		return f.text, false
	case f.Many():
		if slices.Contains(f.many, other) {
			return strings.Join(slices.DeleteFunc(slices.Clone(f.many), func(w string) bool { return w == other }), " "), true
		}
		return strings.Join(f.many, " "), false
	}
	return f.one, f.one == other && Other(f.ID)
}

// Keys are those of the fields: what needs no other key than arrows, space, enter and letters. Filtering and jumping between
// fields are left out, because there is one field at a time.
func Keys() *huh.KeyMap {
	k := huh.NewDefaultKeyMap()
	off := key.NewBinding(key.WithDisabled())
	k.Quit = off
	k.Input.Prev, k.Select.Prev, k.MultiSelect.Prev = off, off, off
	k.Input.Next, k.Select.Next, k.MultiSelect.Next = key.NewBinding(key.WithKeys("enter")), key.NewBinding(key.WithKeys("enter")), key.NewBinding(key.WithKeys("enter"))
	k.Input.Submit, k.Select.Submit, k.MultiSelect.Submit = k.Input.Next, k.Select.Next, k.MultiSelect.Next
	k.Select.Filter, k.MultiSelect.Filter = off, off
	k.Select.ClearFilter, k.MultiSelect.ClearFilter = off, off
	k.Select.SetFilter, k.MultiSelect.SetFilter = off, off
	return k
}
