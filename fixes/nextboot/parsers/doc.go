// Package parsers holds nothing but tests: what the programs that read configuration files at boot make of those that package
// nextboot writes. They run in the lab's guest with Debian's own programs, and read back what the kernel then has.
package parsers
