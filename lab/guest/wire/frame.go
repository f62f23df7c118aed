// Package wire carries many commands at once over one byte stream between a machine and its guest:
// frames with a kind, a session and a bounded payload, and a window for each stream of a session so
// that one slow reader holds up nobody else. Both ends use the same code; either end is judged as if
// it were hostile, so a frame out of bounds ends the connection and never the process.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Kind says what a frame carries.
type Kind uint8

// The kinds of frames. Payloads of Hello, Start, Control and Exit are JSON and belong to the caller.
const (
	Hello   Kind = iota + 1 // first frame of each side; session 0
	Start                   // opens a session
	Data                    // stream byte, then bytes of that stream
	EOF                     // stream byte: no more data on it
	Credit                  // stream byte, then uint32: so many bytes more may be sent on it
	Control                 // a wish about a running session: signal, window size
	Exit                    // the session is over
	Bye                     // session 0: leave
)

// Bounds of the protocol, in bytes.
const (
	maxPayload  = 32 << 10
	maxControl  = 1 << 20 // Start, Hello, Exit, Control: environment and arguments
	window      = 256 << 10
	headerBytes = 9
	maxSessions = 1024
)

type frame struct {
	kind    Kind
	session uint32
	payload []byte
}

func limit(k Kind) uint32 {
	switch k {
	case Hello, Start, Control, Exit:
		return maxControl
	case Data:
		return maxPayload + 1
	case Credit:
		return 5
	case EOF:
		return 1
	}
	return 0
}

func encode(f frame) ([]byte, error) {
	if uint32(len(f.payload)) > limit(f.kind) {
		return nil, fmt.Errorf("wire: a frame of kind %d may have %d bytes, not %d", f.kind, limit(f.kind), len(f.payload))
	}
	b := make([]byte, headerBytes, headerBytes+len(f.payload))
	b[0] = byte(f.kind)
	binary.BigEndian.PutUint32(b[1:], f.session)
	binary.BigEndian.PutUint32(b[5:], uint32(len(f.payload)))
	return append(b, f.payload...), nil
}

// decode reads one frame. io.EOF only between frames.
func decode(r io.Reader) (frame, error) {
	var h [headerBytes]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: Kind(h[0]), session: binary.BigEndian.Uint32(h[1:])}
	n := binary.BigEndian.Uint32(h[5:])
	if f.kind < Hello || f.kind > Bye || n > limit(f.kind) {
		return frame{}, fmt.Errorf("wire: no such frame: kind %d with %d bytes", f.kind, n)
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, fmt.Errorf("wire: the stream ended inside a frame: %w", err)
	}
	return f, nil
}
