package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvstui/fixes"
)

// ipvsFamily is the generic netlink family of ip_vs.
const ipvsFamily = "IPVS"

// loadModule asks for the generic netlink family of ip_vs by its name: when it is not there the kernel fetches the module that
// names itself its provider, as modprobe would, and lvstui has to run no program and read no index of modules.
func (k *kernel) loadModule(st fixes.LoadModule) error {
	h, err := netlink.NewHandle(unix.NETLINK_GENERIC)
	if err != nil {
		return refused(err)
	}
	defer h.Close()
	_, err = h.GenlFamilyGet(ipvsFamily)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the kernel could not load %s: it was built without it, its package of modules is not installed, or loading is forbidden here (a container); on the machine itself type: modprobe %s",
			st.Name, st.Name)
	}
	return refused(err)
}

// unloadModule takes out what was loaded on top of the module, schedulers, and then itself. What is in use stays.
func (k *kernel) unloadModule(st fixes.UnloadModule) error {
	holders, err := os.ReadDir(filepath.Join("/sys/module", st.Name, "holders"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, h := range holders {
		if err := deleteModule(h.Name()); err != nil {
			return err
		}
	}
	return deleteModule(st.Name)
}

func deleteModule(name string) error {
	err := unix.DeleteModule(name, unix.O_NONBLOCK)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if errors.Is(err, unix.EPERM) {
		return &lackError{"not permitted: unloading a module needs CAP_SYS_MODULE"}
	}
	return err
}
