package probes

import (
	"slices"

	"lvstui/lvs"
)

// Supposing is the case as it would be if the host's facts were s: for rules about what the next boot brings. What cannot be told
// of it stays with the copy.
func (c *Case) Supposing(s *lvs.Snapshot) *Case {
	o := c.Host.Observation
	o.Snapshot = s
	h := newHost(o)
	h.Roles = c.Host.Roles
	cluster := *c.Cluster
	cluster.Hosts = slices.Clone(cluster.Hosts)
	for i := range cluster.Hosts {
		if cluster.Hosts[i] == c.Host {
			cluster.Hosts[i] = h
		}
	}
	cluster.Destinations = slices.Clone(cluster.Destinations)
	for i := range cluster.Destinations {
		if cluster.Destinations[i].Director == c.Host {
			cluster.Destinations[i].Director = h
		}
	}
	return &Case{Host: h, Cluster: &cluster, rule: c.rule}
}
