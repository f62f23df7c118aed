package guest

import (
	"bufio"
	"io"
	"os"

	"lvstui/lab/guest/cpio"
)

// packInitrd puts the cached base and what is new in this boot into one file in memory: qemu wants a
// single file, and nothing needs to be left behind.
func packInitrd(img Image, c Config) (*os.File, error) {
	out, err := memoryFile("initrd")
	if err != nil {
		return nil, err
	}
	if err := fillInitrd(out, img, c); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

func fillInitrd(out *os.File, img Image, c Config) error {
	base, err := os.Open(img.Base)
	if err != nil {
		return err
	}
	defer base.Close()
	if _, err := io.Copy(out, base); err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	w := cpio.NewWriter(buffered)
	if err := packFile(w, "init", 0o755, img.Init); err != nil {
		return err
	}
	w.Symlink("/init", Program)
	for _, f := range c.Files {
		switch {
		case f.Mode.IsDir():
			err = w.Dir(merged(f.Path), f.Mode)
		case f.Source == "":
			err = w.Bytes(merged(f.Path), f.Mode, f.Data)
		default:
			err = packFile(w, merged(f.Path), f.Mode, f.Source)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}
