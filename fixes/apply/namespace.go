package apply

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// namespaceName is what Snapshot.NetNS has: "net:[4026531840]".
func namespaceName() (string, error) { return os.Readlink("/proc/thread-self/ns/net") }

// namespaceKey names the network namespace of this thread as long as the machine is up: boot id, inode, and the kernel's cookie for
// it, because an inode number is used again after its namespace has ended. Kernels before 5.14 tell no cookie.
func namespaceKey() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	name, err := namespaceName()
	if err != nil {
		return "", fmt.Errorf("find the network namespace: %w", err)
	}
	inode := strings.TrimSuffix(strings.TrimPrefix(name, "net:["), "]")
	key := word(strings.TrimSpace(string(boot))) + "-" + word(inode)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("find the network namespace: %w", err)
	}
	defer unix.Close(fd)
	if cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil {
		key += fmt.Sprintf("-%x", cookie)
	}
	return key, nil
}
