package kernel

import (
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestKernelHasIPVS(t *testing.T) {
	family, err := netlink.GenlFamilyGet("IPVS")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("IPVS is family", family.ID, "in guest", os.Getenv("LVSTUI_GUEST"))
	fmt.Fprintln(os.Stderr, "a word on stderr")
}

func TestData(t *testing.T) {
	for _, name := range []string{"testdata/note.txt", "../../guest.go"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if Half(4) != 2 {
		t.Error("half of four")
	}
}

func TestFailsWhenAsked(t *testing.T) {
	if os.Getenv("LVSTUI_FAIL") != "" {
		t.Error("as asked")
	}
}

func TestHangsWhenAsked(t *testing.T) {
	if os.Getenv("LVSTUI_HANG") != "" {
		select {}
	}
}
