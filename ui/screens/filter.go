package screens

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvstui/capture"
	"lvstui/lvs"
)

// flowFilter is what the operator typed after "/". All words must hold; a word that begins with "!" must not.
type flowFilter struct {
	text  string
	words []filterWord
}

type filterWord struct {
	text string
	not  bool
	// lasting says that it asks for addresses and ports only, which a flow keeps: packets can be chosen by it.
	lasting bool
	hold    func(f *capture.Flow, rs string) bool
}

// filterKeys are the words before the colon.
var filterKeys = []string{"state", "stage", "reached", "client", "vip", "rs", "port"}

// outcomeWords are the values of state.
func outcomeWords() []string {
	words := make([]string, len(Outcomes))
	for i, o := range Outcomes {
		words[i] = string(o)
	}
	return words
}

// parseFilter reads words like state:stalled client:10.0.0.0/8 stage:syn-forwarded rs:192.168.10.11; a word without a
// colon is looked for in the flow's text. The error names the word and what would be right.
func parseFilter(text string) (flowFilter, error) {
	out := flowFilter{text: strings.TrimSpace(text)}
	for _, word := range strings.Fields(text) {
		w := filterWord{text: word}
		word, w.not = strings.CutPrefix(word, "!")
		key, value, keyed := strings.Cut(word, ":")
		var err error
		if keyed && (slices.Contains(filterKeys, key) || !strings.Contains(value, ":") && !looksLikeAddress(word)) {
			w.hold, err = keyedWord(key, value)
			w.lasting = key == "client" || key == "vip" || key == "virtual" || key == "port"
		} else {
			w.hold, w.lasting = anyText(word), looksLikeAddress(word)
		}
		if err != nil {
			return flowFilter{}, err
		}
		out.words = append(out.words, w)
	}
	return out, nil
}

// looksLikeAddress keeps 10.0.0.1:80 and 2001:db8::1 from being taken for key:value.
func looksLikeAddress(word string) bool {
	if _, err := netip.ParseAddrPort(word); err == nil {
		return true
	}
	_, err := netip.ParseAddr(word)
	return err == nil
}

func keyedWord(key, value string) (func(*capture.Flow, string) bool, error) {
	switch key {
	case "state", "outcome":
		for _, o := range outcomeWords() {
			if value != "" && strings.HasPrefix(o, value) {
				return func(f *capture.Flow, _ string) bool { return strings.HasPrefix(string(f.Outcome), value) }, nil
			}
		}
		return nil, fmt.Errorf("state:%s: want one of %s", value, strings.Join(outcomeWords(), ", "))
	case "stage", "reached":
		if lvs.Stage(value).Index() < 0 {
			return nil, fmt.Errorf("%s:%s: no such stage; for example %s:syn-forwarded", key, value, key)
		}
		if key == "reached" {
			return func(f *capture.Flow, _ string) bool { return f.Reached == lvs.Stage(value) }, nil
		}
		return func(f *capture.Flow, _ string) bool {
			return f.Reached == lvs.Stage(value) || f.StalledAt == lvs.Stage(value)
		}, nil
	case "client":
		match, err := addressWord(key, value)
		return func(f *capture.Flow, _ string) bool { return match(f.Client.Addr()) }, err
	case "vip", "virtual":
		match, err := addressWord(key, value)
		return func(f *capture.Flow, _ string) bool { return match(f.Virtual.Addr()) }, err
	case "rs":
		if match, err := addressWord(key, value); err == nil {
			return func(_ *capture.Flow, rs string) bool { a, err := netip.ParseAddr(rs); return err == nil && match(a) }, nil
		}
		return func(_ *capture.Flow, rs string) bool { return strings.HasPrefix(rs, value) }, nil
	case "port":
		return func(f *capture.Flow, _ string) bool {
			return fmt.Sprint(f.Client.Port()) == value || fmt.Sprint(f.Virtual.Port()) == value
		}, nil
	}
	return nil, fmt.Errorf("%s: is no filter; want one of %s, or any text", key, strings.Join(filterKeys, ", "))
}

// addressWord matches an address or a prefix: 10.0.0.1, 10.0.0.0/8.
func addressWord(key, value string) (func(netip.Addr) bool, error) {
	if p, err := netip.ParsePrefix(value); err == nil {
		return p.Masked().Contains, nil
	}
	if a, err := netip.ParseAddr(value); err == nil {
		return func(b netip.Addr) bool { return a == b }, nil
	}
	return nil, fmt.Errorf("%s:%s: want an address or a prefix, for example %s:10.0.0.0/8", key, value, key)
}

func anyText(word string) func(*capture.Flow, string) bool {
	return func(f *capture.Flow, rs string) bool {
		return strings.Contains(flowText(f, rs), word)
	}
}

func flowText(f *capture.Flow, rs string) string {
	return f.Client.String() + " " + f.Virtual.String() + " " + string(f.Outcome) + " " + string(f.Reached) + " " +
		string(f.StalledAt) + " " + rs
}

func (q flowFilter) matches(f *capture.Flow, rs string) bool {
	for _, w := range q.words {
		if w.hold(f, rs) == w.not {
			return false
		}
	}
	return true
}

// packets is the part of the filter by which packets can be chosen: nil when there is none. rest are the words that can not,
// because what they ask for is known only when the flow has ended. Packets without ports, as ARP and ICMP, are always wanted.
func (q flowFilter) packets() (want func(*capture.Packet) bool, rest []string) {
	var words []filterWord
	for _, w := range q.words {
		if w.lasting {
			words = append(words, w)
		} else {
			rest = append(rest, w.text)
		}
	}
	if len(words) == 0 {
		return nil, rest
	}
	return func(p *capture.Packet) bool {
		if p.SrcPort == 0 && p.DstPort == 0 {
			return true
		}
		a, b := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
		q := flowFilter{words: words}
		return q.matches(&capture.Flow{Client: a, Virtual: b}, "") || q.matches(&capture.Flow{Client: b, Virtual: a}, "")
	}, rest
}

// completeFilter completes the last word of a filter as far as there is no choice, and lists what it could become. values are
// those that a key can have.
func completeFilter(text string, values func(key string) []string) (completed string, could []string) {
	start := strings.LastIndexByte(text, ' ') + 1
	before, word := text[:start], text[start:]
	bare, not := strings.CutPrefix(word, "!")
	if not {
		before += "!"
	}
	key, _, keyed := strings.Cut(bare, ":")
	if keyed {
		for _, v := range values(key) {
			could = append(could, key+":"+v)
		}
	} else {
		for _, k := range filterKeys {
			could = append(could, k+":")
		}
	}
	could = slices.DeleteFunc(could, func(s string) bool { return !strings.HasPrefix(s, bare) })
	if len(could) == 0 {
		return text, nil
	}
	common := could[0]
	for _, c := range could[1:] {
		for !strings.HasPrefix(c, common) {
			common = common[:len(common)-1]
		}
	}
	if len(could) == 1 && keyed {
		common += " "
	}
	return before + common, could
}
