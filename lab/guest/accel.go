package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// kvmTrial is how long a guest may take to come up under KVM before we believe that it hangs. Where
// KVM works it takes about one second.
const kvmTrial = 8 * time.Second

// trial is the cached answer whether KVM works, valid until the machine boots again.
type trial struct {
	Boot  string `json:"boot"`
	Works bool   `json:"works"`
}

// chooseAccel says kvm only where a guest has come up under it since this machine booted: on some
// machines /dev/kvm can be opened and the guest never runs.
func chooseAccel(ctx context.Context, img Image) (string, error) {
	switch v := os.Getenv("LVSTUI_ACCEL"); v {
	case "":
	case "kvm", "tcg":
		return v, nil
	default:
		return "", fmt.Errorf("LVSTUI_ACCEL=%q: it can be kvm or tcg", v)
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg", nil
	}
	kvm.Close()

	name := filepath.Join(img.Cache, "kvm.json")
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "tcg", nil
	}
	boot := strings.TrimSpace(string(id))
	if t, ok := readTrial(name, boot); ok {
		return t.name(), nil
	}
	unlock, err := lock(ctx, filepath.Join(img.Cache, "kvm.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if t, ok := readTrial(name, boot); ok {
		return t.name(), nil
	}
	t := trial{Boot: boot, Works: tryKVM(ctx, img)}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	data, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return t.name(), renameio.WriteFile(name, data, 0o644)
}

func (t trial) name() string {
	if t.Works {
		return "kvm"
	}
	return "tcg"
}

func readTrial(name, boot string) (trial, bool) {
	var t trial
	data, err := os.ReadFile(name)
	return t, err == nil && json.Unmarshal(data, &t) == nil && t.Boot == boot
}

func tryKVM(ctx context.Context, img Image) bool {
	vm, err := boot(ctx, img, Config{Accel: "kvm", Timeout: kvmTrial})
	if err != nil {
		return false
	}
	vm.Close()
	return true
}
