// Package file reads packets from pcap and pcapng files and from the text tcpdump prints, and writes pcapng.
// Files are hostile: every length is bounded, and a file that ends early gives the packets so far and then
// an error that names the place.
package file

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"lvstui/capture"
)

// Format is a kind of file that Open knows.
type Format string

const (
	PCAP   Format = "pcap"
	PCAPNG Format = "pcapng"
	Text   Format = "tcpdump text"
)

// Source gives the packets of a file in their order there.
type Source interface {
	// Next fills p with the next packet. It returns io.EOF behind the last one, and a *Error if the file is
	// damaged; the packets before it are good. Frames that cannot be decoded are skipped and counted.
	Next(p *capture.Packet) error
	// Frame gives the bytes of the packet that Next gave last, until the next call of Next, and their link
	// type. It is nil for text.
	Frame() ([]byte, capture.LinkType)
	// Interfaces names the interfaces met so far, by Packet.Interface.
	Interfaces() map[int32]string
	// Format is what the file turned out to be.
	Format() Format
	// Skipped is the number of frames or lines so far that could not be understood.
	Skipped() int
}

// Error says where a file is damaged.
type Error struct {
	Format Format
	Packet int   // number of the packet that could not be read, from 1
	Offset int64 // byte at which its record begins
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s file is damaged at packet %d (byte %d): %v; the %d packets before it are good",
		e.Format, e.Packet, e.Offset, e.Err, e.Packet-1)
}

// Unwrap gives the reason, for example io.ErrUnexpectedEOF for a file cut short.
func (e *Error) Unwrap() error { return e.Err }

// ErrUnknown is in the error of Open when the file is of no known format.
var ErrUnknown = errors.New("not a pcap or pcapng file and not text of tcpdump -nn -e")

const (
	// maxFrame is more than any interface carries: libpcap's own limit is 256 KiB.
	maxFrame      = 512 << 10
	maxInterfaces = 4096
	sniffBytes    = 512
)

// Open finds out what r holds and prepares to read it. It reads only what it needs. A file compressed with gzip is
// unpacked on the way, once.
func Open(r io.Reader) (Source, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	if head, _ := br.Peek(2); compressed(head) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("the capture is compressed with gzip and damaged: %w", cut(err))
		}
		br = bufio.NewReaderSize(z, 64<<10)
	}
	return open(br)
}

func compressed(head []byte) bool { return len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b }

func open(br *bufio.Reader) (Source, error) {
	head, err := br.Peek(sniffBytes)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("cannot read the capture: %w", err)
	}
	switch {
	case len(head) == 0:
		return nil, errors.New("the capture is empty: not even a file header; was it written by a program that is still running?")
	case len(head) >= 4 && pcapOrder(head) != nil:
		return newPCAP(br)
	case len(head) >= 4 && binary.BigEndian.Uint32(head) == blockSection:
		return newNG(br)
	case compressed(head):
		return nil, errors.New("the capture is compressed twice; unpack it first: zcat FILE | zcat | lvstui flows --read -")
	case looksLikeText(head):
		return newText(br), nil
	}
	return nil, fmt.Errorf("%w: it begins with % x", ErrUnknown, head[:min(len(head), 8)])
}

func looksLikeText(b []byte) bool {
	if bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	odd := 0
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != 0x1b {
			odd++
		}
	}
	return odd*20 < len(b)+20
}

// Read gives all packets of a source, at most limit of them (0: no limit). With an error it still gives
// what came before.
func Read(s Source, limit int) ([]capture.Packet, error) {
	var list []capture.Packet
	for limit <= 0 || len(list) < limit {
		var p capture.Packet
		if err := s.Next(&p); err == io.EOF {
			break
		} else if err != nil {
			return list, err
		}
		list = append(list, p)
	}
	return list, nil
}

// input is a reader that knows how far it is, and reads records into one buffer that it keeps.
type input struct {
	r      *bufio.Reader
	offset int64
	buf    []byte
}

// read gives the next n bytes, n having been checked against a bound. They are good until the next call.
// It returns io.EOF only if there is not one byte left.
func (in *input) read(n int) ([]byte, error) {
	if cap(in.buf) < n {
		in.buf = make([]byte, n, max(n, 4096))
	}
	b := in.buf[:n]
	got, err := io.ReadFull(in.r, b)
	in.offset += int64(got)
	return b, err
}

// cut turns the end of the file inside a record into an error that says so.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { // not an already wrapped one
		return fmt.Errorf("the file is cut short: %w", io.ErrUnexpectedEOF)
	}
	return err
}
