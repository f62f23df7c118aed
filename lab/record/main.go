// Command record makes the recorded test data anew: it boots the guest, builds every topology of the lab there,
// healthy and with each fault, and writes what was captured and collected into the source tree.
//
//	CGO_ENABLED=0 go run ./lab/record              # everything, some five minutes
//	CGO_ENABLED=0 go run ./lab/record captures     # capture/testdata/TOPOLOGY-HOST.pcapng
//	CGO_ENABLED=0 go run ./lab/record contrasts    # capture/testdata/{masq,ipip,vlan}-HOST.pcapng, of clusters of lab/grade
//	CGO_ENABLED=0 go run ./lab/record hosts        # probes/testdata/hosts/TOPOLOGY[-FAULT]/HOST.json
package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"lvstui/lab/grade"
	"lvstui/lab/guest"
)

func main() {
	switch {
	case grade.IsAgent():
		grade.Agent()
		return
	case guest.IsInit():
		guest.Init()
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	what := os.Args[1:]
	if len(what) == 0 {
		what = []string{"captures", "contrasts", "hosts"}
	}
	work := onMachine
	if os.Getenv("LVSTUI_GUEST") != "" {
		work = inGuest
	}
	if err := work(ctx, what); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

// onMachine boots a guest with this program, runs it there and unpacks what it sends.
func onMachine(ctx context.Context, what []string) error {
	if _, err := os.Stat("go.mod"); err != nil {
		return fmt.Errorf("%w; run it at the root of the source tree", err)
	}
	img, err := guest.Prepare(ctx, guest.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	vm, err := guest.Boot(ctx, img, guest.Config{})
	if err != nil {
		return err
	}
	defer vm.Close()
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := unpack(r)
		r.CloseWithError(err)
		unpacked <- err
	}()
	exit, err := vm.Run(ctx, guest.Cmd{Args: append([]string{"/init"}, what...), Stdout: w, Stderr: os.Stderr})
	w.Close()
	if err == nil && exit != 0 {
		err = fmt.Errorf("in the guest: exit status %d", exit)
	}
	return errors.Join(err, <-unpacked)
}

// unpack writes the files of a tar stream below the current folder.
func unpack(r io.Reader) error {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("file %q is outside the source tree", h.Name)
		}
		if err := os.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
			return err
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		if err := os.WriteFile(h.Name, data, 0o644); err != nil {
			return err
		}
	}
}
