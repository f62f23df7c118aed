package collect

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolLinks bounds how many interfaces are asked for their offloads.
const ethtoolLinks = 64

// From include/uapi/linux/ethtool.h.
const (
	ethtoolGetDriver = 0x03 // ETHTOOL_GDRVINFO
	ethtoolGetFlags  = 0x25 // ETHTOOL_GFLAGS
	ethtoolGetGRO    = 0x2b // ETHTOOL_GGRO
	flagLRO          = 1 << 15
)

// readFeatures asks the drivers which receive offloads are on. These questions are everybody's to ask, and an interface
// that exists loads no module (net/core/dev_ioctl.c, dev_load).
func (c *collector) readFeatures() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	asked := 0
	for i := range c.s.Links {
		l := &c.s.Links[i]
		if !l.OnWire() || asked >= ethtoolLinks {
			continue
		}
		asked++
		l.Driver = driver(fd, l.Name)
		flags, ok := ethtoolValue(fd, l.Name, ethtoolGetFlags)
		if !ok {
			continue // no driver with such questions
		}
		l.Features = []string{}
		if gro, ok := ethtoolValue(fd, l.Name, ethtoolGetGRO); ok && gro != 0 {
			l.Features = append(l.Features, "gro")
		}
		if flags&flagLRO != 0 {
			l.Features = append(l.Features, "lro")
		}
		c.links[l.Index] = *l
	}
}

// ethtoolValue asks for one number: struct ethtool_value.
func ethtoolValue(fd int, name string, cmd uint32) (uint32, bool) {
	value := struct{ cmd, data uint32 }{cmd: cmd}
	err := ethtool(fd, name, unsafe.Pointer(&value))
	return value.data, err == nil
}

func driver(fd int, name string) string {
	info := unix.EthtoolDrvinfo{Cmd: ethtoolGetDriver}
	if ethtool(fd, name, unsafe.Pointer(&info)) != nil {
		return ""
	}
	return unix.ByteSliceToString(info.Driver[:])
}

// ethtool is ioctl SIOCETHTOOL with struct ifreq, whose union is 24 bytes long.
func ethtool(fd int, name string, data unsafe.Pointer) error {
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}{data: data}
	if len(name) >= unix.IFNAMSIZ {
		return unix.ENODEV
	}
	copy(request.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}
