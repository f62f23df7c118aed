// Package apply does the steps of a plan to the kernel of the calling thread's network namespace, with netlink and writes below
// /proc/sys. It is the only package of lvstui that changes a host. What it is going to do, and how to take it back,
// is in a journal on disk before the first write.
package apply
