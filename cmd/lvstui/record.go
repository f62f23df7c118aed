package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"lvstui/capture"
	"lvstui/capture/file"
	"lvstui/ui/screens"
)

// A recording from the terminal UI may be forgotten: it is spread over files of this size, of which so many are kept.
const (
	recordSize  = 100 << 20
	recordFiles = 10
)

// record begins to save what is heard from now on.
func (e *ear) record(name string, want func(*capture.Packet) bool) error {
	out, err := file.Create(name, recordSize, recordFiles)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for index, name := range e.capture.Interfaces() {
		out.AddInterface(index, name)
	}
	e.save, e.saveErr, e.want, e.saved, e.savedAt = out, nil, want, 0, time.Now()
	return nil
}

// recording is how it goes, nil while nothing is saved.
func (e *ear) recording() *screens.Recording {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.save == nil {
		return nil
	}
	r := &screens.Recording{File: e.save.Files()[0], Files: len(e.save.Files()), Packets: e.saved, Bytes: e.save.Bytes()}
	if e.saveErr != nil {
		r.Err = e.saveErr.Error()
	}
	return r
}

// stopRecording finishes the file, with what became of the flows since it was begun.
func (e *ear) stopRecording() (screens.Recording, error) {
	r := e.recording()
	if r == nil {
		return screens.Recording{}, errors.New("nothing is being written")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.capture.Stats()
	end := file.Statistics{Time: time.Now().UnixNano(), Received: st.Packets, Dropped: st.Drops}
	for _, f := range e.now().Recent(savedVerdicts) {
		if f.LastSeen.After(e.savedAt) && (e.want == nil || e.want(firstPacket(f))) {
			end.Comments = append(end.Comments, verdict(f))
		}
	}
	err := errors.Join(e.saveErr, e.save.Close(end))
	r.Bytes = e.save.Bytes()
	e.save, e.want = nil, nil
	return *r, err
}

// firstPacket stands for a flow where packets are chosen.
func firstPacket(f capture.Flow) *capture.Packet {
	return &capture.Packet{Src: f.Client.Addr(), SrcPort: f.Client.Port(), Dst: f.Virtual.Addr(), DstPort: f.Virtual.Port()}
}

// Record begins to save what is heard on the host. The file must not exist.
func (h *liveHost) Record(_ context.Context, name string, want func(*capture.Packet) bool) (string, error) {
	h.mu.Lock()
	ear := h.ear
	h.mu.Unlock()
	name, err := filepath.Abs(name)
	switch {
	case err != nil:
		return "", err
	case ear == nil:
		return "", errors.New("nobody listens on the wire here")
	case ear.recording() != nil:
		return "", fmt.Errorf("%s is being written already", ear.recording().File)
	}
	return name, ear.record(name, want)
}

// StopRecording finishes the file.
func (h *liveHost) StopRecording(context.Context) (screens.Recording, error) {
	h.mu.Lock()
	ear := h.ear
	h.mu.Unlock()
	if ear == nil {
		return screens.Recording{}, errors.New("nobody listens on the wire here")
	}
	return ear.stopRecording()
}
