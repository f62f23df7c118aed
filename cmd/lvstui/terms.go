package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// confirmWithin is how long a change waits to be kept unless the operator says otherwise.
const confirmWithin = 60 * time.Second

// termsWords is what every command that changes this host says about how it does.
const termsWords = "Once done and verified, a change waits to be kept: it is taken back unless you say so in time,\n" +
	"even when the terminal or the connection is lost. --yes keeps it once it is verified; with\n" +
	"--confirm-within as well it waits for lvstui confirm. lvstui undo takes it back later."

// termsFlags are the flags of every command that changes this host.
type termsFlags struct {
	dryRun, yes        bool
	persist, noPersist bool
	within             withinFlag
	root               string
}

func (t *termsFlags) bind(f *pflag.FlagSet) {
	t.within.limit = confirmWithin
	f.BoolVar(&t.dryRun, "dry-run", false, "show only")
	f.BoolVarP(&t.yes, "yes", "y", false, "do not ask, neither before nor whether to keep it")
	f.Var(&t.within, "confirm-within", "how long a change waits to be kept before it is taken back; 0 keeps it at once")
	f.BoolVar(&t.persist, "persist", false, "write the files for the next boot too, once the change is kept")
	f.BoolVar(&t.noPersist, "no-persist", false, "change the running host only, and do not ask about the next boot")
	f.StringVar(&t.root, "root", "", "the folder whose files are read and written for the next boot, of an image, say; without it /")
}

// check refuses flags that contradict each other.
func (t *termsFlags) check() error {
	if t.persist && t.noPersist {
		return withHint(errors.New("--persist and --no-persist: one of them"), "the same with one of them")
	}
	return nil
}

// waitsForConfirm says that nobody is to be asked on this terminal: the change waits for lvstui confirm.
func (t *termsFlags) waitsForConfirm() bool { return t.yes && t.within.given && t.within.limit > 0 }

// withinFlag is a flag that takes a duration.
type withinFlag struct {
	limit time.Duration
	given bool
}

func (w *withinFlag) Type() string { return "DURATION" }

func (w *withinFlag) String() string { return w.limit.String() }

func (w *withinFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration, such as 60s or 5m", s)
	}
	if d != 0 && (d < time.Second || d > 24*time.Hour) {
		return fmt.Errorf("%s is no time to wait in: from 1s to 24h, or 0 to keep the change at once", s)
	}
	w.limit, w.given = d, true
	return nil
}
