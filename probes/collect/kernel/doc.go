// Package kernel holds the tests of package collect that need ip_vs. They run as root in the guest kernel:
//
//	go test -tags guest -exec guestexec ./probes/collect/kernel
package kernel
