package grade

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"lvstui/lab"
)

// Record builds the case's cluster and captures on all its hosts while the client makes two connections to each of its services. It
// gives each host's capture as pcapng.
func Record(c Case) (map[string][]byte, error) {
	cl, err := build(c, nil)
	if err != nil {
		return nil, err
	}
	defer cl.down()
	if err := cl.prepare(c); err != nil {
		return nil, err
	}
	if err := cl.served(c.Connects()); err != nil { // ARP tables are full, and the services are up
		return nil, err
	}
	if err := cl.each(func(_ string, h *remote, _ *sync.Mutex) error { return h.Call("Host.Listen", true, new(bool)) }); err != nil {
		return nil, err
	}
	for _, k := range c.Connects() {
		if _, err := cl.dial(k, 2, patience); err != nil {
			return nil, err
		}
	}
	time.Sleep(time.Second) // the last ACKs, and the kernel's capture buffers
	files := map[string][]byte{}
	err = cl.each(func(name string, h *remote, mu *sync.Mutex) error {
		var heard []byte
		err := h.Call("Host.Heard", true, &heard)
		mu.Lock()
		defer mu.Unlock()
		files[name] = heard
		return err
	})
	return files, err
}

// listening is a capture that runs.
type listening struct {
	stop context.CancelFunc
	file bytes.Buffer
	done chan error
}

// Listen begins to capture on the host. It returns when every packet from now on is seen.
func (h *Host) Listen(bool, *bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ear != nil {
		return errors.New("already listening")
	}
	ctx, stop := context.WithCancel(context.Background())
	ear := &listening{stop: stop, done: make(chan error, 1)}
	ready := make(chan struct{})
	go func() { ear.done <- lab.Record(ctx, &ear.file, sync.OnceFunc(func() { close(ready) })) }()
	select {
	case <-ready:
		h.ear = ear
		return nil
	case err := <-ear.done:
		stop()
		return err
	}
}

// Heard ends what Listen began and gives the capture, a pcapng file.
func (h *Host) Heard(_ bool, out *[]byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ear == nil {
		return errors.New("nobody listens")
	}
	h.ear.stop()
	err := <-h.ear.done
	*out = h.ear.file.Bytes()
	h.ear = nil
	return err
}
