package nextboot

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"lvstui/fixes"
	"lvstui/lvs"
)

// netplan is Ubuntu's /etc/netplan, from which the files of systemd-networkd or NetworkManager are made at boot.
type netplan struct{}

const ownNetplan = "/etc/netplan/60-lvstui.yaml"

func (netplan) name() string { return "netplan" }

// definition is one device of one file. Several files may have one of the same name: lists add up, other values replace.
type definition struct {
	file     string
	kind, id string // "ethernets", "eth0"
	node     *yaml.Node
}

// definitions are those of all files in the order in which they are merged, and the renderer that the last of them names.
func (d *disk) definitions() (out []definition, renderer string) {
	for _, file := range d.layered(".yaml", "/etc/netplan", "/run/netplan", "/usr/lib/netplan", "/lib/netplan") {
		text, _ := d.read(file)
		network := child(parseYAML(text), "network")
		if r := scalar(child(network, "renderer")); r != "" {
			renderer = r
		}
		for kind, group := range children(network) {
			for id, node := range children(group) {
				if node.Kind == yaml.MappingNode && id != "renderer" {
					out = append(out, definition{file, kind, id, node})
				}
			}
		}
	}
	return out, renderer
}

// parseYAML returns the root mapping, nil when there is none.
func parseYAML(text string) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// children are the entries of a mapping, in order; none of anything else. Aliases are not followed.
func children(n *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}

func child(n *yaml.Node, name string) *yaml.Node {
	for key, node := range children(n) {
		if key == name {
			return node
		}
	}
	return nil
}

func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// is says whether a definition is about a device.
func (f definition) is(l lvs.Link) tri {
	match := child(f.node, "match")
	if match == nil || match.Kind != yaml.MappingNode || len(match.Content) == 0 {
		if f.id == l.Name {
			return yes
		}
		return no
	}
	if name := scalar(child(f.node, "set-name")); name != "" {
		if name == l.Name {
			return yes
		}
		return no
	}
	out := yes
	for key, value := range children(match) {
		switch key {
		case "name":
			out = min(out, matchWords(scalar(value), l.Name))
		case "macaddress":
			if !strings.EqualFold(scalar(value), l.MAC) && !strings.EqualFold(scalar(value), l.PermMAC) {
				out = no
			}
		default:
			out = min(out, perhaps)
		}
	}
	return out
}

// idOf is under which kind and name the files define a device.
func (netplan) idOf(d *disk, device string) (kind, id string, sure bool) {
	all, _ := d.definitions()
	link := d.link(device)
	sure = true
	matched := map[string]bool{} // ids with a match: elsewhere they may be named without
	for _, f := range all {
		if child(f.node, "match") != nil {
			matched[f.kind+" "+f.id] = true
		}
	}
	for _, f := range all {
		if matched[f.kind+" "+f.id] && child(f.node, "match") == nil {
			continue
		}
		switch f.is(link) {
		case yes:
			return f.kind, f.id, sure
		case perhaps:
			sure = false
		}
	}
	return "", "", sure
}

func (n netplan) owns(d *disk, device string) bool {
	_, id, _ := n.idOf(d, device)
	return id != ""
}

func (n netplan) gives(d *disk) Boot {
	var b Boot
	all, _ := d.definitions()
	if len(all) == 0 {
		return b
	}
	for _, device := range d.devices() {
		kind, id, _ := n.idOf(d, device)
		for _, f := range all {
			if id != "" && f.kind == kind && f.id == id {
				f.gives(&b, device)
			}
		}
	}
	return b
}

func (f definition) gives(b *Boot, device string) {
	at := func(n *yaml.Node) Place { return Place{"netplan", f.file, n.Line} }
	for _, item := range items(child(f.node, "addresses")) {
		text := scalar(item)
		label := ""
		if item.Kind == yaml.MappingNode { // - "10.0.0.1/24": {label: "eth0:1"}
			for key, options := range children(item) {
				text, label = key, scalar(child(options, "label"))
			}
		}
		if p, ok := parsePrefix(text); ok {
			b.Addresses = append(b.Addresses, Address{Place: at(item), Device: device, Prefix: p, Label: label})
		}
	}
	if gw, err := netip.ParseAddr(scalar(child(f.node, "gateway4"))); err == nil {
		b.Routes = append(b.Routes, Route{at(child(f.node, "gateway4")), fixes.AddRoute{Table: lvs.TableMain, Dst: defaultRoute, Gateway: gw, Device: device}})
	}
	for _, item := range items(child(f.node, "routes")) {
		r := fixes.AddRoute{Table: lvs.TableMain, Device: device}
		dst, ok := parsePrefix(scalar(child(item, "to")))
		if !ok || !dst.Addr().Is4() {
			continue
		}
		r.Dst = dst.Masked()
		r.Gateway, _ = netip.ParseAddr(scalar(child(item, "via")))
		r.Source, _ = netip.ParseAddr(scalar(child(item, "from")))
		r.Metric, _ = strconv.Atoi(scalar(child(item, "metric")))
		r.OnLink = isTrue(scalar(child(item, "on-link")))
		if t := scalar(child(item, "table")); t != "" {
			r.Table = tableNumber(t)
		}
		b.Routes = append(b.Routes, Route{at(item), r})
	}
	for _, item := range items(child(f.node, "routing-policy")) {
		r := fixes.AddRule{Table: tableNumber(scalar(child(item, "table")))}
		r.From, _ = parsePrefix(scalar(child(item, "from")))
		r.To, _ = parsePrefix(scalar(child(item, "to")))
		r.Priority, _ = strconv.Atoi(scalar(child(item, "priority")))
		b.Rules = append(b.Rules, Rule{at(item), r})
	}
}

// ownPlan is our own file: what netplan merges into the definitions of the others.
type ownPlan struct {
	Network struct {
		Version   int                  `yaml:"version"`
		Ethernets map[string]ownDevice `yaml:"ethernets,omitempty"`
		Bonds     map[string]ownDevice `yaml:"bonds,omitempty"`
		Bridges   map[string]ownDevice `yaml:"bridges,omitempty"`
		VLANs     map[string]ownDevice `yaml:"vlans,omitempty"`
		Dummies   map[string]ownDevice `yaml:"dummy-devices,omitempty"`
	} `yaml:"network"`
}

type ownDevice struct {
	Addresses []string    `yaml:"addresses,omitempty"`
	Routes    []ownRoute  `yaml:"routes,omitempty"`
	Policy    []ownPolicy `yaml:"routing-policy,omitempty"`
}

type ownRoute struct {
	To     string `yaml:"to"`
	Via    string `yaml:"via,omitempty"`
	From   string `yaml:"from,omitempty"`
	OnLink bool   `yaml:"on-link,omitempty"`
	Scope  string `yaml:"scope,omitempty"`
	Metric int    `yaml:"metric,omitempty"`
	Table  int    `yaml:"table,omitempty"`
}

type ownPolicy struct {
	From     string `yaml:"from,omitempty"`
	To       string `yaml:"to,omitempty"`
	Table    int    `yaml:"table"`
	Priority int    `yaml:"priority"`
}

func (p *ownPlan) group(kind string) *map[string]ownDevice {
	switch kind {
	case "ethernets":
		return &p.Network.Ethernets
	case "bonds":
		return &p.Network.Bonds
	case "bridges":
		return &p.Network.Bridges
	case "vlans":
		return &p.Network.VLANs
	case "dummy-devices":
		return &p.Network.Dummies
	}
	return nil
}

func (p *ownPlan) text() (string, error) {
	var out strings.Builder
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(p); err != nil {
		return "", err
	}
	return ownHeader + out.String(), nil
}

// own reads our file. Somebody who changed it by hand shall not lose that.
func (netplan) own(d *disk) (*ownPlan, error) {
	p := &ownPlan{}
	p.Network.Version = 2
	text, ok := d.read(ownNetplan)
	if !ok {
		return p, nil
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("%s was changed by hand and is not written by lvstui: %w", ownNetplan, err)
	}
	if again, err := p.text(); err != nil || again != text {
		return nil, errors.New(ownNetplan + " was changed by hand and is not written by lvstui")
	}
	return p, nil
}

// change edits a device of our own file.
func (n netplan) change(d *disk, device, why string, edit func(*ownDevice)) error {
	kind, id, sure := n.idOf(d, device)
	if id == "" && device == "lo" {
		kind, id, sure = "ethernets", "lo", true
	}
	p, err := n.own(d)
	if err != nil {
		return err
	}
	group := p.group(kind)
	if !sure || group == nil {
		return fmt.Errorf("under which name netplan has %s could not be told (netplan get says it)", device)
	}
	if *group == nil {
		*group = map[string]ownDevice{}
	}
	dev := (*group)[id]
	edit(&dev)
	(*group)[id] = dev
	if len(dev.Addresses)+len(dev.Routes)+len(dev.Policy) == 0 {
		delete(*group, id)
	}
	text, err := p.text()
	if err != nil {
		return err
	}
	if w := p.Network; len(w.Ethernets)+len(w.Bonds)+len(w.Bridges)+len(w.VLANs)+len(w.Dummies) == 0 {
		text = ""
	}
	return d.write(ownNetplan, text, 0o600, why)
}

func (n netplan) setAddress(d *disk, a Address, want bool) error {
	if _, renderer := d.definitions(); renderer == "NetworkManager" && a.Device == "lo" {
		return keyfile{}.setAddress(d, a, want) // netplan has no connection for lo to give it
	}
	if !want {
		why := fmt.Sprintf("the next boot no longer puts %s on %s", a.Prefix, a.Device)
		if err := n.change(d, a.Device, why, func(o *ownDevice) {
			o.Addresses = slices.DeleteFunc(o.Addresses, func(t string) bool { return t == a.Prefix.String() })
		}); err != nil {
			return err
		}
		return n.dropElsewhere(d, a, why)
	}
	if a.Scope != "" && a.Scope != "global" {
		return fmt.Errorf("netplan knows no scope %s for %s", a.Scope, a.Prefix)
	}
	return n.change(d, a.Device, fmt.Sprintf("the next boot puts %s on %s", a.Prefix, a.Device), func(o *ownDevice) {
		o.Addresses = append(o.Addresses, a.Prefix.String())
	})
}

// dropElsewhere takes an address out of somebody else's file, where it stands alone on its line or between brackets on one.
func (n netplan) dropElsewhere(d *disk, a Address, why string) error {
	for _, have := range n.gives(d).Addresses {
		if have.Device != a.Device || have.Prefix != a.Prefix {
			continue
		}
		text, _ := d.read(have.File)
		edited := withoutItem(text, have.Line, a.Prefix.String())
		// Only what takes out exactly this is good: YAML has too many ways to write the same.
		before := len(n.gives(d).Addresses)
		was := *d.files[have.File]
		if edited == text || !strings.HasPrefix(have.File, "/etc/") {
			return fmt.Errorf("%s line %d has it: take it out there", have.File, have.Line)
		}
		if err := d.write(have.File, edited, 0o600, why); err != nil {
			return err
		}
		if left := n.gives(d).Addresses; len(left) != before-1 || parseYAML(edited) == nil {
			*d.files[have.File] = was
			return fmt.Errorf("%s line %d has it: take it out there", have.File, have.Line)
		}
	}
	return nil
}

// withoutItem removes an item of a list: "- ITEM" with its line, or ITEM between brackets.
func withoutItem(text string, line int, item string) string {
	all := strings.SplitAfter(text, "\n")
	if line < 1 || line > len(all) {
		return text
	}
	old := all[line-1]
	bare := strings.NewReplacer(`"`, "", `'`, "").Replace(strings.TrimSpace(old))
	if bare == "- "+item || strings.HasPrefix(bare, "- "+item+" #") {
		return strings.Join(slices.Delete(all, line-1, line), "")
	}
	for _, quoted := range []string{`"` + item + `"`, `'` + item + `'`, item} {
		for _, form := range []string{", " + quoted, "," + quoted, quoted + ", ", quoted + ",", quoted} {
			if strings.Contains(old, "[") && strings.Contains(old, form) {
				all[line-1] = strings.Replace(old, form, "", 1)
				return strings.Join(all, "")
			}
		}
	}
	return text
}

func (n netplan) setRoute(d *disk, r fixes.AddRoute, want bool) error {
	own := ownRoute{To: r.Dst.String(), OnLink: r.OnLink, Metric: r.Metric}
	if r.Gateway.IsValid() {
		own.Via = r.Gateway.String()
	} else {
		own.Scope = "link"
	}
	if r.Source.IsValid() {
		own.From = r.Source.String()
	}
	if r.Table != lvs.TableMain {
		own.Table = r.Table
	}
	why := map[bool]string{true: "the next boot sets the route ", false: "the next boot no longer sets the route "}[want] + r.Dst.String()
	err := n.change(d, r.Device, why, func(o *ownDevice) {
		o.Routes = slices.DeleteFunc(o.Routes, func(x ownRoute) bool { return x == own })
		if want {
			o.Routes = append(o.Routes, own)
		}
	})
	for _, have := range n.gives(d).Routes {
		if err == nil && !want && sameRoute(have.AddRoute, r) {
			return fmt.Errorf("%s line %d has it: take it out there", have.File, have.Line)
		}
	}
	return err
}

func (n netplan) setRule(d *disk, r fixes.AddRule, device string, want bool) error {
	if r.Iif != "" {
		return errors.New("netplan knows no policy rule by incoming interface")
	}
	own := ownPolicy{Table: r.Table, Priority: r.Priority}
	if r.From.IsValid() {
		own.From = r.From.String()
	}
	if r.To.IsValid() {
		own.To = r.To.String()
	}
	why := map[bool]string{true: "the next boot sets the policy rule with priority ", false: "the next boot no longer sets the policy rule with priority "}[want]
	return n.change(d, device, why+strconv.Itoa(r.Priority), func(o *ownDevice) {
		o.Policy = slices.DeleteFunc(o.Policy, func(x ownPolicy) bool { return x == own })
		if want {
			o.Policy = append(o.Policy, own)
		}
	})
}
