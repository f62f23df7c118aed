package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"lvstui/lab"
	"lvstui/lab/grade"
)

// inGuest records and writes the files to standard output as a tar stream.
func inGuest(ctx context.Context, what []string) error {
	out := tar.NewWriter(os.Stdout)
	for _, w := range what {
		var err error
		switch w {
		case "captures":
			err = captures(ctx, out)
		case "contrasts":
			err = contrasts(out)
		case "hosts":
			err = hosts(ctx, out)
		default:
			err = fmt.Errorf("%q is none of captures, contrasts, hosts", w)
		}
		if err != nil {
			return err
		}
	}
	return out.Close()
}

// captures records four connections in each of the article's two topologies, as every host but rs2 sees them.
func captures(ctx context.Context, out *tar.Writer) error {
	for _, topology := range []lab.Topology{lab.Split, lab.Shared} {
		l, err := lab.Up(ctx, lab.Spec{Topology: topology, NoClient: true})
		if err != nil {
			return err
		}
		files, err := recordAll(ctx, l, 4)
		if err := l.Down(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		for _, host := range []string{lab.Client, lab.Router, lab.Director, lab.RealServer1} {
			name := path.Join("capture/testdata", fmt.Sprintf("%s-%s.pcapng", topology, host))
			if err := add(out, name, files[host].Bytes()); err != nil {
				return err
			}
		}
	}
	return nil
}

// contrasts records what is not plain direct routing: clusters of lab/grade, seen by the client, the director and the real server that
// the name is about.
func contrasts(out *tar.Writer) error {
	cases, err := grade.Load()
	if err != nil {
		return err
	}
	for name, of := range map[string]struct{ cluster, server string }{
		"masq": {"healthy/masq-beside-gate", "rs3"},
		"ipip": {"healthy/ipip-beside-gate", "rs2"},
		"vlan": {"healthy/vlan-and-bond", "rs1"},
	} {
		i := slices.IndexFunc(cases, func(c grade.Case) bool { return c.Name() == of.cluster })
		if i < 0 {
			return fmt.Errorf("lab/grade has no case %s", of.cluster)
		}
		files, err := grade.Record(cases[i])
		if err != nil {
			return err
		}
		for _, host := range []string{lab.Client, lab.Director, of.server} {
			if err := add(out, path.Join("capture/testdata", name+"-"+host+".pcapng"), files[host]); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordAll captures on all hosts at once while the client connects n times.
func recordAll(ctx context.Context, l *lab.Lab, n int) (map[string]*bytes.Buffer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	files := map[string]*bytes.Buffer{}
	var ready, done sync.WaitGroup
	errs := make(chan error, len(l.Hosts()))
	for _, h := range l.Hosts() {
		file := &bytes.Buffer{}
		files[h.Name] = file
		ready.Add(1)
		done.Go(func() {
			once := sync.OnceFunc(ready.Done)
			defer once()
			if err := h.Record(ctx, file, once); err != nil {
				errs <- err
			}
		})
	}
	ready.Wait()
	// Nine seconds show a SYN and the three that follow it after 1, 3 and 7.
	results := l.Try(ctx, n, 9*time.Second)
	time.Sleep(time.Second) // the last ACKs, and the kernel's capture buffers
	cancel()
	done.Wait()
	fmt.Fprintf(os.Stderr, "%s: %+v\n", l.Topology(), lab.Count(results))
	select {
	case err := <-errs:
		return nil, err
	default:
		return files, nil
	}
}

// hosts takes snapshots of all hosts in every topology, healthy and with each fault.
func hosts(ctx context.Context, out *tar.Writer) error {
	for _, topology := range lab.Topologies {
		if err := snapshots(ctx, out, topology); err != nil {
			return err
		}
		for _, f := range lab.Faults() {
			if !f.TriedIn(topology) || topology == lab.Split && f.Host == lab.Router {
				continue // split has the router's fault anyway
			}
			if err := snapshots(ctx, out, topology, f.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshots builds a lab and looks at its hosts after some connections were made, and lost or not.
func snapshots(ctx context.Context, out *tar.Writer, topology lab.Topology, faults ...string) error {
	l, err := lab.Up(ctx, lab.Spec{Topology: topology, Faults: faults, NoClient: true})
	if err != nil {
		return err
	}
	defer l.Down()
	name := string(topology)
	for _, f := range faults {
		name += "-" + f
	}
	results := l.Try(ctx, 6, 4*time.Second)
	fmt.Fprintf(os.Stderr, "%s: %+v\n", name, lab.Count(results))
	time.Sleep(2500 * time.Millisecond) // ip_vs adds its statistics up every two seconds
	for _, h := range l.Hosts() {
		s, err := h.Snapshot(ctx)
		if err != nil {
			return err
		}
		data, err := json.MarshalIndent(s, "", " ")
		if err != nil {
			return err
		}
		if err := add(out, path.Join("probes/testdata/hosts", name, h.Name+".json"), append(data, '\n')); err != nil {
			return err
		}
	}
	return l.Down()
}

func add(out *tar.Writer, name string, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}
