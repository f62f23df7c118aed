package rules

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"lvstui/capture"
	"lvstui/lvs"
	"lvstui/probes"
)

// testCase is one file testdata/<rule-id>/<name>.txtar: hosts, what was seen on them, and what the rules must say. Its parts:
//
//	comment             what the case is
//	host/<name>.json    a host. The first one is the host asked about. See loadHost for what may be left out.
//	flows/<name>.json   the flows seen on that host: a JSON array of capture.Flow; stages may list only some
//	arp/<name>.json     who asked and answered there: a JSON array of capture.ARPSighting
//	file/<name>/<path>  a configuration file of that host
//	options.json        what the operator said: {"vips":["…"],"roles":["…"]}
//	want                what must come out, one per line; see checkWants
type testCase struct {
	rule, name   string
	observations []probes.Observation
	options      probes.Options
	want         []string
}

func (c testCase) diagnose() probes.Report { return probes.Diagnose(All(), c.observations, c.options) }

// found and absent tell what the case says of the rule in whose folder it is.
func (c testCase) found() bool {
	return slices.ContainsFunc(c.want, func(l string) bool { return strings.HasPrefix(l, "finding "+c.rule+" ") })
}

func (c testCase) absent() bool { return slices.Contains(c.want, "no "+c.rule) }

// loadCases lists the folder, so that adding a case is adding a file.
func loadCases(t testing.TB) []testCase {
	t.Helper()
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases under testdata: %v", err)
	}
	var out []testCase
	for _, file := range files {
		c, err := loadCase(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, c)
	}
	return out
}

func loadCase(file string) (testCase, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return testCase{}, err
	}
	c := testCase{rule: filepath.Base(filepath.Dir(file)), name: strings.TrimSuffix(filepath.Base(file), ".txtar")}
	files := map[string][]lvs.ConfigFile{}
	flows, sightings := map[string][]capture.Flow{}, map[string][]capture.ARPSighting{}
	for _, f := range txtar.Parse(text).Files {
		kind, name, _ := strings.Cut(strings.TrimSuffix(f.Name, ".json"), "/")
		switch kind {
		case "host":
			s, err := loadHost(name, f.Data)
			if err != nil {
				return c, fmt.Errorf("%s: %w", f.Name, err)
			}
			c.observations = append(c.observations, probes.Observation{Snapshot: s})
		case "flows":
			list := []capture.Flow{}
			if err := json.Unmarshal(f.Data, &list); err != nil {
				return c, fmt.Errorf("%s: %w", f.Name, err)
			}
			flows[name] = list
		case "arp":
			list := []capture.ARPSighting{}
			if err := strict(f.Data, &list); err != nil {
				return c, fmt.Errorf("%s: %w", f.Name, err)
			}
			sightings[name] = list
		case "file":
			host, path, _ := strings.Cut(name, "/")
			files[host] = append(files[host], lvs.ConfigFile{Path: "/" + path, Text: string(f.Data), Mode: 0o644})
		case "options":
			if c.options, err = loadOptions(f.Data); err != nil {
				return c, fmt.Errorf("%s: %w", f.Name, err)
			}
		case "want":
			for line := range strings.Lines(string(f.Data)) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
					c.want = append(c.want, line)
				}
			}
		default:
			return c, fmt.Errorf("no part is called %q", f.Name)
		}
	}
	for i := range c.observations {
		name := c.observations[i].Snapshot.Host
		c.observations[i].Flows = flows[name]
		c.observations[i].ARP = sightings[name]
		if files[name] != nil {
			c.observations[i].Snapshot.Files = files[name]
		}
		delete(files, name)
		delete(flows, name)
		delete(sightings, name)
	}
	switch {
	case len(files) > 0:
		return c, fmt.Errorf("files of hosts that are not there: %v", slices.Collect(maps.Keys(files)))
	case len(flows)+len(sightings) > 0:
		return c, fmt.Errorf("flows or ARP of hosts that are not there: %v %v", slices.Collect(maps.Keys(flows)), slices.Collect(maps.Keys(sightings)))
	case len(c.observations) == 0 || len(c.want) == 0:
		return c, fmt.Errorf("a case needs a host and a want")
	}
	return c, nil
}

func loadOptions(data []byte) (probes.Options, error) {
	var in struct {
		VIPs  []netip.Addr `json:"vips"`
		Roles []lvs.Role   `json:"roles"`
	}
	err := strict(data, &in)
	return probes.Options{VIPs: in.VIPs, Roles: in.Roles}, err
}

// loadHost reads a host of a case. It is a lvs.Snapshot with three liberties, because what matters of a case should be
// all there is to read:
//
//   - "base": "single/rs1" starts from testdata/base/single/rs1.json. Objects are merged into it, other values replace,
//     "+key" appends to an array, "-key" takes out the elements that have all the fields given. A source that is null was not read, a
//     sysctl or counter that is null is not there.
//   - local and connected routes follow from the addresses, as the kernel makes them; "routes" holds only the others.
//   - a device's sysctls that are not given are the kernel's defaults.
func loadHost(name string, data []byte) (*lvs.Snapshot, error) {
	tree, err := loadTree(data)
	if err != nil {
		return nil, err
	}
	delete(tree, "base")
	if _, ok := tree["host"]; !ok {
		tree["host"] = name
	}
	deriveSysctls(tree)
	for _, m := range []string{"sysctls", "counters"} {
		if object, ok := tree[m].(map[string]any); ok {
			maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
		}
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	s := &lvs.Snapshot{Schema: lvs.SnapshotSchema, Capabilities: []string{}, Gaps: []lvs.Gap{}}
	if err := strict(text, s); err != nil {
		return nil, err
	}
	deriveLinks(s)
	deriveRoutes(s)
	return s, nil
}

func loadTree(data []byte) (map[string]any, error) {
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, err
	}
	base, ok := patch["base"].(string)
	if !ok {
		return patch, nil
	}
	text, err := os.ReadFile(filepath.Join("testdata/base", filepath.FromSlash(path.Clean("/"+base))+".json"))
	if err != nil {
		return nil, err
	}
	tree, err := loadTree(text)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", base, err)
	}
	return tree, merge(tree, patch)
}

// merge writes patch into tree, what is taken out before what is added.
func merge(tree, patch map[string]any) error {
	for _, key := range slices.SortedFunc(maps.Keys(patch), func(a, b string) int { return cmp.Compare(b, a) }) {
		v := patch[key]
		old := tree[strings.TrimLeft(key, "+-")]
		switch list, isList := v.([]any); {
		case key[0] == '+' && isList:
			all, _ := old.([]any)
			tree[key[1:]] = append(slices.Clone(all), list...)
		case key[0] == '-' && isList:
			all, _ := old.([]any)
			kept := slices.DeleteFunc(slices.Clone(all), func(e any) bool {
				return slices.ContainsFunc(list, func(like any) bool { return matches(e, like) })
			})
			if len(kept) == len(all) {
				return fmt.Errorf("%s: nothing there is like %v", key, list)
			}
			tree[key[1:]] = kept
		default:
			from, isObject := old.(map[string]any)
			if with, ok := v.(map[string]any); ok && isObject {
				if err := merge(from, with); err != nil {
					return err
				}
				continue
			}
			tree[key] = v
		}
	}
	return nil
}

func matches(element, like any) bool {
	e, ok1 := element.(map[string]any)
	l, ok2 := like.(map[string]any)
	if !ok1 || !ok2 {
		return fmt.Sprint(element) == fmt.Sprint(like)
	}
	for k, v := range l {
		if fmt.Sprint(e[k]) != fmt.Sprint(v) {
			return false
		}
	}
	return true
}

// strict refuses a misspelt field.
func strict(data []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// deriveSysctls adds the defaults of mainline Linux for every link, where the case says nothing.
func deriveSysctls(tree map[string]any) {
	sysctls, ok := tree["sysctls"].(map[string]any)
	if !ok {
		return
	}
	devices := []string{"all", "default"}
	links, _ := tree["links"].([]any)
	for _, l := range links {
		if m, ok := l.(map[string]any); ok {
			devices = append(devices, fmt.Sprint(m["name"]))
		}
	}
	set := func(key string, v any) {
		if _, there := sysctls[key]; !there {
			sysctls[key] = v
		}
	}
	set("net/ipv4/ip_forward", "0")
	if ipvs, ok := tree["ipvs"].(map[string]any); ok && ipvs["loaded"] == true {
		for _, key := range []string{"backup_only", "conntrack", "drop_packet", "drop_entry", "secure_tcp", "expire_nodest_conn", "expire_quiescent_template"} {
			set("net/ipv4/vs/"+key, "0")
		}
	}
	for _, dev := range devices {
		for _, key := range []string{"arp_ignore", "arp_announce", "arp_filter", "arp_notify", "rp_filter", "accept_local",
			"log_martians", "proxy_arp", "promote_secondaries", "route_localnet", "send_redirects", "src_valid_mark"} {
			set(lvs.ConfPath(dev, key), "0")
		}
		set(lvs.ConfPath(dev, "forwarding"), sysctls["net/ipv4/ip_forward"])
	}
}

// deriveLinks fills in what the commonest links have.
func deriveLinks(s *lvs.Snapshot) {
	for i := range s.Links {
		l := &s.Links[i]
		l.Index = cmp.Or(l.Index, i+1)
		if l.Name == "lo" {
			l.Type, l.MTU = cmp.Or(l.Type, "loopback"), cmp.Or(l.MTU, 65536)
		}
		l.Type, l.MTU = cmp.Or(l.Type, "ether"), cmp.Or(l.MTU, 1500)
	}
}

// deriveRoutes adds the routes that the kernel makes of IPv4 addresses (fib_add_ifaddr): local for the address,
// local for the whole prefix on lo, else connected. It also gives addresses the label they have by default.
func deriveRoutes(s *lvs.Snapshot) {
	// The kernel tells addresses link by link.
	slices.SortStableFunc(s.Addresses, func(a, b lvs.Address) int {
		l, _ := s.Link(a.Device)
		m, _ := s.Link(b.Device)
		return cmp.Compare(l.Index, m.Index)
	})
	for i, a := range s.Addresses {
		if a.Prefix.Addr().Is4() {
			s.Addresses[i].Label = cmp.Or(a.Label, a.Device)
		}
	}
	if s.Routes == nil {
		return
	}
	add := func(r lvs.Route) {
		if !slices.ContainsFunc(s.Routes, func(x lvs.Route) bool {
			return x.Table == r.Table && x.Dst == r.Dst && x.Device == r.Device && x.Type == r.Type
		}) {
			s.Routes = append(s.Routes, r)
		}
	}
	for i := range s.Routes {
		r := &s.Routes[i]
		r.Table, r.Type = cmp.Or(r.Table, lvs.TableMain), cmp.Or(r.Type, "unicast")
		r.Scope = cmp.Or(r.Scope, map[bool]string{true: "global", false: "link"}[r.Gateway.IsValid()])
		r.Protocol = cmp.Or(r.Protocol, "static")
	}
	for _, a := range s.Addresses {
		l, _ := s.Link(a.Device)
		ip, net := a.Prefix.Addr(), a.Prefix.Masked()
		if !ip.Is4() || !l.Up {
			continue
		}
		src := ip
		for _, b := range s.Addresses {
			if a.Secondary && !b.Secondary && b.Device == a.Device && b.Prefix.Masked() == net {
				src = b.Prefix.Addr()
			}
		}
		add(lvs.Route{Table: lvs.TableLocal, Type: "local", Dst: netip.PrefixFrom(ip, 32), Device: a.Device, Source: src, Scope: "host", Protocol: "kernel"})
		switch {
		case a.Prefix.IsSingleIP() || a.Secondary:
		case l.Loopback():
			add(lvs.Route{Table: lvs.TableLocal, Type: "local", Dst: net, Device: a.Device, Source: ip, Scope: "host", Protocol: "kernel"})
		default:
			add(lvs.Route{Table: lvs.TableMain, Type: "unicast", Dst: net, Device: a.Device, Source: ip, Scope: "link", Protocol: "kernel"})
		}
	}
	slices.SortStableFunc(s.Routes, func(a, b lvs.Route) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()),
			cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Type, b.Type))
	})
}

// recorded loads the hosts recorded in the lab, by folder: "single", "single-rs-answers-arp". None is no error.
func recorded(t testing.TB) map[string][]probes.Observation {
	t.Helper()
	out := map[string][]probes.Observation{}
	err := filepath.WalkDir("../testdata/hosts", func(file string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return fs.SkipAll
		}
		if err != nil || d.IsDir() || filepath.Ext(file) != ".json" {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var s lvs.Snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		folder := filepath.Base(filepath.Dir(file))
		out[folder] = append(out[folder], probes.Observation{Snapshot: &s})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
