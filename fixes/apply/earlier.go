package apply

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lvstui/fixes"
)

// EarlierFile is a configuration file that a change before the last boot wrote and that holds that text still. What was changed in the running
// kernel went with the boot, and the file brought it back: no journal of this boot can take it back.
type EarlierFile struct {
	Path  string
	Title string // of the change
	// Made says that there was no such file before. Else Journal, a file with a field "before", has what it held.
	Made    bool
	Journal string
}

// earlierFolders bounds how many folders of earlier boots are read, the latest ones.
const earlierFolders = 64

// Earlier is those files, the latest change of each. What cannot be read is left out: it is for information only.
func (a *Applier) Earlier() []EarlierFile {
	dir := a.Dir
	if dir == "" {
		dir = DefaultDir
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil
	}
	var out []EarlierFile
	for _, folder := range foldersBefore(dir, word(strings.TrimSpace(string(boot)))) {
		records, _ := (&journal{dir: folder}).read()
		for _, r := range slices.Backward(records) {
			if r.Change.State != fixes.Applied || r.Root != a.Root {
				continue
			}
			for _, f := range r.Files {
				known := slices.ContainsFunc(out, func(e EarlierFile) bool { return e.Path == f.Path })
				if f.State == fileWritten && f.After != nil && !known && holds(filepath.Join(a.Root, f.Path), *f.After) {
					out = append(out, EarlierFile{Path: f.Path, Title: r.Change.Title, Made: f.Before == nil, Journal: filepath.Join(folder, r.Change.ID+".json")})
				}
			}
		}
	}
	return out
}

// foldersBefore are the journals of other boots, the latest first.
func foldersBefore(dir, boot string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	type folder struct {
		name string
		at   int64
	}
	var all []folder
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && !strings.HasPrefix(e.Name(), boot) {
			all = append(all, folder{filepath.Join(dir, e.Name()), info.ModTime().UnixNano()})
		}
	}
	slices.SortFunc(all, func(a, b folder) int { return int(min(1, max(-1, b.at-a.at))) })
	var out []string
	for _, f := range all[:min(len(all), earlierFolders)] {
		out = append(out, f.name)
	}
	return out
}

func holds(name, text string) bool {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(text)) {
		return false
	}
	b, err := os.ReadFile(name)
	return err == nil && string(b) == text
}
