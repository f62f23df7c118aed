package collect

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h and bpf.h.
const (
	sizeTcmsg     = 20
	parentIngress = 0xfffffff2 // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
	bpfName       = 7          // TCA_BPF_NAME
	bpfProgQuery  = 16         // BPF_PROG_QUERY
	bpfTCXIngress = 46         // BPF_TCX_INGRESS
	ingressLimit  = 32
)

// readIngress finds what sees packets before netfilter, and so before ip_vs: filters on clsact and ingress queues, and
// programs of the newer tcx.
func (c *collector) readIngress() {
	nl, err := dialNetlink(unix.NETLINK_ROUTE, c.deadline)
	if err != nil {
		return // the links themselves would have met the same
	}
	defer nl.Close()
	with := map[uint32]bool{}
	err = again(func() error {
		return nl.dump(unix.RTM_GETQDISC, make([]byte, sizeTcmsg), func(m nlmsg) error {
			if m.typ == unix.RTM_NEWQDISC && len(m.data) >= sizeTcmsg {
				if kind := tcKind(m.data); kind == "clsact" || kind == "ingress" {
					with[getU32(m.data[4:])] = true
				}
			}
			return nil
		})
	})
	if err != nil {
		return // a kernel without traffic control: what there is cannot be known, and it is rare
	}
	asked := 0
	for i := range c.s.Links {
		l := &c.s.Links[i]
		if !l.OnWire() || asked >= ingressLimit {
			continue
		}
		asked++
		l.Ingress = []string{}
		if with[uint32(l.Index)] {
			l.Ingress = ingressFilters(nl, uint32(l.Index))
		}
		if tcxPrograms(uint32(l.Index)) > 0 {
			l.Ingress = append(l.Ingress, "tcx")
		}
		c.links[l.Index] = *l
	}
}

// ingressFilters are the filters of one interface, each by its kind and, of a program, its name.
func ingressFilters(nl *nlconn, index uint32) []string {
	out := []string{}
	request := make([]byte, sizeTcmsg)
	binary.NativeEndian.PutUint32(request[4:], index)
	binary.NativeEndian.PutUint32(request[12:], parentIngress)
	nl.dump(unix.RTM_GETTFILTER, request, func(m nlmsg) error {
		if m.typ != unix.RTM_NEWTFILTER || len(m.data) < sizeTcmsg {
			return nil
		}
		name := tcKind(m.data)
		for typ, v := range attributes(m.data[sizeTcmsg:]) {
			if typ != unix.TCA_OPTIONS || name != "bpf" {
				continue
			}
			for option, value := range attributes(v) {
				if option == bpfName {
					name += " " + unix.ByteSliceToString(value)
				}
			}
		}
		if name != "" && !slices.Contains(out, name) && len(out) < ingressLimit {
			out = append(out, name)
		}
		return nil
	})
	// A filter is announced once for itself and once with its program: the longer word is enough.
	return slices.DeleteFunc(out, func(s string) bool { return s == "bpf" && len(out) > 1 })
}

func tcKind(data []byte) string {
	for typ, v := range attributes(data[sizeTcmsg:]) {
		if typ == unix.TCA_KIND {
			return unix.ByteSliceToString(v)
		}
	}
	return ""
}

// tcxPrograms counts the programs of tcx on an interface; kernels before 6.6 have none, and refuse the question.
func tcxPrograms(index uint32) uint32 {
	query := struct {
		target, attach, flags, attachFlags uint32
		ids                                uint64
		count, _                           uint32
		_                                  [5]uint64
	}{target: index, attach: bpfTCXIngress}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, bpfProgQuery, uintptr(unsafe.Pointer(&query)), unsafe.Sizeof(query)); errno != 0 {
		return 0
	}
	return query.count
}
