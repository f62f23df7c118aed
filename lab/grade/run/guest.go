package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"lvstui/internal/arrange"
	"lvstui/lab/grade"
	"lvstui/lab/guest"
)

// programInGuest is where the program lies in the guest.
const programInGuest = "/usr/bin/lvstui"

// modules are what a guest has to begin with; the kernel loads others when it needs them. iptables fails where another host has it load nf_tables
// at the same moment.
var modules = []string{"ip_vs", "nf_tables", "nft_compat", "veth", "bridge", "tcp_diag", "udp_diag"}

// inGuest boots a guest, lets this program measure cases there, and keeps what it says. Its kernel has not loaded the module without.
func inGuest(ctx context.Context, img guest.Image, how setting, without string, cases []grade.Case, kept *results) error {
	// 3 GB are for the rings of all hosts that listen at a time; the machine gives what is touched.
	begin := slices.DeleteFunc(slices.Clone(modules), func(m string) bool { return m == without })
	vm, err := guest.Boot(ctx, img, guest.Config{MemoryMB: 3072, Modules: begin, Cable: true, Files: []guest.File{{Path: programInGuest, Mode: 0o755, Source: how.program}}})
	if err != nil {
		return err
	}
	defer vm.Close()
	args := []string{"/init", "-j", fmt.Sprint(how.workers), fmt.Sprintf("-quick=%v", how.quick)}
	for _, c := range cases {
		args = append(args, "="+c.Name())
	}
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		for dec := json.NewDecoder(r); ; {
			var m grade.Measured
			err := dec.Decode(&m)
			if err == nil {
				err = kept.keep(m)
			}
			if err != nil {
				r.CloseWithError(err)
				read <- err
				return
			}
		}
	}()
	exit, err := vm.Run(ctx, guest.Cmd{Args: args, Stdout: w, Stderr: os.Stderr})
	w.Close()
	if e := <-read; err == nil && !errors.Is(e, io.EOF) {
		err = e
	}
	if err == nil && exit != 0 {
		err = fmt.Errorf("in the guest: exit status %d", exit)
	}
	return err
}

// measureAll measures cases in the guest and writes each result as one line of JSON.
func measureAll(names []string, workers int, quick bool) error {
	cases, err := grade.Load()
	if err != nil {
		return err
	}
	cases = slices.DeleteFunc(cases, func(c grade.Case) bool { return !slices.Contains(names, "="+c.Name()) })
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	// What is most telling comes first: each fault and pair once, then the faults in their other clusters, then healthy clusters.
	arrange.By(cases, func(a, b grade.Case) int { return a.Turn() - b.Turn() })
	queue := make(chan grade.Case)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range queue {
				began := time.Now()
				m := grade.Measure(c, grade.Options{Program: programInGuest, Quick: quick})
				mu.Lock()
				fmt.Fprintf(os.Stderr, "%5.1fs %s: %s\n", time.Since(began).Seconds(), m.Case, m.Got+m.Error)
				if e := out.Encode(m); e != nil && err == nil {
					err = e
				}
				mu.Unlock()
			}
		})
	}
	for _, c := range cases {
		queue <- c
	}
	close(queue)
	wg.Wait()
	return err
}
