package collect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"lvstui/lvs"
)

// maxSnapshot bounds a snapshot file, in bytes. Ten thousand virtual services take about six million.
const maxSnapshot = 64 << 20

// Load reads a snapshot file, as `lvstui snapshot` writes it. What is not one is refused with words that say what it
// looks like instead.
func Load(r io.Reader) (*lvs.Snapshot, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	if err != nil {
		return nil, fmt.Errorf("reading the snapshot: %w", err)
	}
	if len(b) > maxSnapshot {
		return nil, fmt.Errorf("not a snapshot of lvstui: longer than %d MiB", maxSnapshot>>20)
	}
	if isCapture(b) {
		return nil, ErrCapture
	}
	b = bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	if what := looksLike(b); what != "" {
		return nil, fmt.Errorf("not a snapshot of lvstui: %s", what)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		return nil, fmt.Errorf("not a snapshot of lvstui: %s", jsonError(err, len(b)))
	}
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	var s lvs.Snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("the snapshot is damaged: %s", jsonError(err, len(b)))
	}
	return &s, nil
}

// ErrCapture says that the file holds packets.
var ErrCapture = errors.New("not a snapshot of lvstui: a packet capture")

// isCapture recognises pcapng and the four kinds of pcap.
func isCapture(b []byte) bool {
	for _, magic := range []string{"\x0a\x0d\x0d\x0a", "\xd4\xc3\xb2\xa1", "\xa1\xb2\xc3\xd4", "\x4d\x3c\xb2\xa1", "\xa1\xb2\x3c\x4d"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	return false
}

// looksLike recognises other files by their first bytes; "" means it may be JSON.
func looksLike(b []byte) string {
	for _, magic := range []struct{ start, what string }{
		{"\x1f\x8b", "a compressed file; unpack it first: gunzip FILE"},
		{"<", "a web page or XML"},
		{"[", "a JSON list; a snapshot is one object"},
	} {
		if bytes.HasPrefix(b, []byte(magic.start)) {
			return magic.what
		}
	}
	if len(b) == 0 {
		return "the file is empty"
	}
	if b[0] != '{' {
		return "no JSON object"
	}
	return ""
}

func checkKeys(keys map[string]json.RawMessage) error {
	raw, ok := keys["schema"]
	switch {
	case !ok:
		return errors.New("not a snapshot of lvstui: no schema number")
	case keys["verdict"] != nil:
		return errors.New("not a snapshot of lvstui but a report of lvstui check")
	}
	var schema int
	if err := json.Unmarshal(raw, &schema); err != nil || schema < 1 {
		return fmt.Errorf("not a snapshot of lvstui: schema is %.40s instead of a number", raw)
	}
	if schema > lvs.SnapshotSchema {
		return fmt.Errorf("the snapshot has schema %d and this lvstui reads up to %d: it was written by a newer one; upgrade this one", schema, lvs.SnapshotSchema)
	}
	// Every snapshot has these keys, if only to say null.
	for _, key := range []string{"host", "taken_at", "ipvs", "links", "addresses", "sysctls", "gaps"} {
		if keys[key] == nil {
			return fmt.Errorf("not a snapshot of lvstui: %q is missing", key)
		}
	}
	return nil
}

// jsonError says where and why, in words for a person.
func jsonError(err error, size int) string {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax) && int(syntax.Offset) >= size:
		return "the file ends in the middle; was the copy cut short?"
	case errors.As(err, &syntax):
		return fmt.Sprintf("no JSON from byte %d on: %v", syntax.Offset, err)
	case errors.As(err, &wrong):
		return fmt.Sprintf("%s holds a %s at byte %d", wrong.Field, wrong.Value, wrong.Offset)
	}
	return err.Error()
}
