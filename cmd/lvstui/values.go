package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lvstui/lvs"
)

// addrs is a flag that takes addresses, several times or separated by commas.
type addrs []netip.Addr

func (a *addrs) Type() string { return "ADDR" }

func (a *addrs) String() string {
	if a == nil || len(*a) == 0 {
		return ""
	}
	var words []string
	for _, ip := range *a {
		words = append(words, ip.String())
	}
	return strings.Join(words, ",")
}

func (a *addrs) Set(s string) error {
	for _, word := range strings.Split(s, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(word))
		if err != nil {
			return fmt.Errorf("%q is not an IP address, such as 172.16.0.8", word)
		}
		*a = append(*a, ip.Unmap().WithZone(""))
	}
	return nil
}

// roles is a flag that takes role names.
type roles []lvs.Role

var allRoles = []lvs.Role{lvs.RoleClient, lvs.RoleRouter, lvs.RoleDirector, lvs.RoleRealServer}

func (r *roles) Type() string { return "ROLE" }

func (r *roles) String() string {
	if r == nil || len(*r) == 0 {
		return ""
	}
	return fmt.Sprint(*r)
}

func (r *roles) Set(s string) error {
	for _, word := range strings.Split(s, ",") {
		role := lvs.Role(strings.TrimSpace(word))
		if !slices.Contains(allRoles, role) {
			return fmt.Errorf("%q is not a role: client, router, director or real-server", word)
		}
		*r = append(*r, role)
	}
	return nil
}

// minArgs refuses too few arguments in the words of this program.
func minArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return withHint(fmt.Errorf("%s needs %s", cmd.CommandPath(), what), "%s --help", cmd.CommandPath())
		}
		return nil
	}
}
