//go:build linux

package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"lvstui/capture"
)

// Layout of a TPACKET_V3 block and frame (include/uapi/linux/if_packet.h). The numbers are of native byte order.
const (
	blockStatus  = 8 // struct tpacket_block_desc: version, offset_to_priv, then struct tpacket_hdr_v1
	blockPackets = 12
	blockFirst   = 16

	frameNext   = 0 // struct tpacket3_hdr
	frameSec    = 4
	frameNsec   = 8
	frameSnap   = 12
	frameLen    = 16
	frameStatus = 20
	frameMAC    = 24
	frameTCI    = 32
	frameSLL    = 48 // struct sockaddr_ll behind the aligned header
	sllIfindex  = 4
	sllHatype   = 8
	sllPkttype  = 10
	frameEnd    = frameSLL + 20

	// frameRoom is what the kernel wants to know about the largest frame; blocks are filled by real length.
	frameRoom = 2048
)

// Hardware types whose frames begin with an Ethernet header. Tunnels and tun devices have none.
const (
	arphrdEther    = 1
	arphrdLoopback = 772
)

var native = binary.NativeEndian

// ring is the memory shared with the kernel: blocks, each owned by one side at a time.
type ring struct {
	mem       []byte
	blockSize int
	blocks    int
	current   int
}

func (r *ring) open(fd int, o Options) error {
	page := os.Getpagesize()
	if o.BlockSize%page != 0 || o.BlockSize&(o.BlockSize-1) != 0 || o.Snap+frameEnd+64 > o.BlockSize {
		return fmt.Errorf("a ring block of %d bytes does not do: want a power of two, whole pages of %d bytes, more than one frame", o.BlockSize, page)
	}
	req := unix.TpacketReq3{
		Block_size:     uint32(o.BlockSize),
		Block_nr:       uint32(o.Blocks),
		Frame_size:     frameRoom,
		Frame_nr:       uint32(o.BlockSize / frameRoom * o.Blocks),
		Retire_blk_tov: uint32(max(1, o.Retire.Milliseconds())),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return explain(fmt.Sprintf("make a ring of %d blocks of %d KiB", o.Blocks, o.BlockSize>>10), err)
	}
	mem, err := unix.Mmap(fd, 0, o.BlockSize*o.Blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return explain("map the ring", err)
	}
	*r = ring{mem: mem, blockSize: o.BlockSize, blocks: o.Blocks}
	return nil
}

func (r *ring) close() {
	if r.mem != nil {
		_ = unix.Munmap(r.mem) // the mapping ends with the process at the latest
		r.mem = nil
	}
}

func (r *ring) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&r.mem[r.current*r.blockSize+blockStatus]))
}

// take gives the next block if the kernel has finished it, else nil.
func (r *ring) take() []byte {
	if atomic.LoadUint32(r.status())&unix.TP_STATUS_USER == 0 {
		return nil
	}
	return r.mem[r.current*r.blockSize:][:r.blockSize:r.blockSize]
}

// giveBack returns the block that take gave to the kernel and goes on to the next.
func (r *ring) giveBack() {
	atomic.StoreUint32(r.status(), unix.TP_STATUS_KERNEL)
	r.current = (r.current + 1) % r.blocks
}

// iterator walks the frames of a block.
type iterator struct {
	block []byte
	at    int
	left  int
}

func iterate(block []byte) iterator {
	return iterator{block, int(native.Uint32(block[blockFirst:])), int(native.Uint32(block[blockPackets:]))}
}

var errRing = errors.New("the kernel's packet ring is not laid out as TPACKET_V3; please report your kernel version: uname -r")

// next reads the metadata of the next frame into f. The packet itself is still to be decoded.
func (it *iterator) next(f *Frame) error {
	if it.at < 0 || it.at+frameEnd > len(it.block) {
		return errRing
	}
	h := it.block[it.at:]
	from := int(native.Uint16(h[frameMAC:]))
	to := from + int(native.Uint32(h[frameSnap:]))
	if from < frameEnd || to < from || to > len(h) {
		return errRing
	}
	sll := h[frameSLL:]
	f.Data = h[from:to:to]
	f.Link = capture.LinkEthernet
	if t := native.Uint16(sll[sllHatype:]); t != arphrdEther && t != arphrdLoopback {
		f.Link = capture.LinkRaw
	}
	f.Packet = capture.Packet{
		Time:      int64(native.Uint32(h[frameSec:]))*1e9 + int64(native.Uint32(h[frameNsec:])),
		Interface: int32(native.Uint32(sll[sllIfindex:])),
		Dir:       capture.In,
		WireLen:   int32(min(native.Uint32(h[frameLen:]), 1<<30)),
	}
	if sll[sllPkttype] == unix.PACKET_OUTGOING {
		f.Dir = capture.Out
	}
	if native.Uint32(h[frameStatus:])&unix.TP_STATUS_VLAN_VALID != 0 {
		f.VLAN = uint16(native.Uint32(h[frameTCI:]) & 0x0fff) // above are the priority bits
	}
	it.left--
	if next := int(native.Uint32(h[frameNext:])); next > 0 {
		it.at += next
	} else {
		it.left = 0
	}
	return nil
}
