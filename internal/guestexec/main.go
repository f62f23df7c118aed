// Command guestexec runs a test binary in the lab's guest kernel, for "go test -exec", or any command:
//
//	CGO_ENABLED=0 go build -o /tmp/guestexec ./internal/guestexec
//	CGO_ENABLED=0 go test -exec /tmp/guestexec ./lab/...
//	/tmp/guestexec shell ip -br address
//	/tmp/guestexec shell
package main

import (
	"os"

	"lvstui/lab/guest"
)

func main() {
	if guest.IsInit() {
		guest.Init()
	}
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "shell" {
		os.Exit(guest.Shell(args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(guest.TestExec(args, os.Stdin, os.Stdout, os.Stderr))
}
