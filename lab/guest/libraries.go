package guest

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// libraries finds the shared libraries that programs load in the packages that theirs depend on.
type libraries struct {
	archive *archive
	found   map[string]library
	open    []wanted
}

type library struct{ pkg, file string }

// wanted is a library that a file of a package asks for.
type wanted struct{ so, pkg, by string }

// want notes what an ELF file asks for. Files that are no ELF ask for nothing.
func (l *libraries) want(pkg, file string) {
	sonames, err := needed(file)
	if err != nil {
		return // a program that cannot be read cannot be packed either, and that is reported
	}
	for _, so := range sonames {
		if _, ok := l.found[so]; !ok {
			l.open = append(l.open, wanted{so, pkg, file})
		}
	}
}

// resolve downloads packages in rounds, one apt call each, until every library is found or there is
// nothing left to look in.
func (l *libraries) resolve(ctx context.Context) error {
	for {
		if err := l.lookIn(slices.Sorted(maps.Keys(l.archive.roots))); err != nil {
			return err
		}
		next := map[string]bool{}
		for _, w := range l.open {
			for _, c := range l.candidates(w) {
				next[c] = true
			}
		}
		if len(next) == 0 {
			return nil
		}
		if err := l.archive.unpack(ctx, slices.Sorted(maps.Keys(next))...); err != nil {
			return err
		}
	}
}

// candidates are the packages to look in next for a library: the one whose name follows from the
// library's (libnl-3.so.200 is in libnl-3-200), after that all lib packages that pkg depends on.
func (l *libraries) candidates(w wanted) []string {
	var named, others []string
	for _, dep := range l.archive.depends[w.pkg] {
		switch {
		case l.archive.roots[dep] != "" || !l.archive.has(dep): // looked in already, or virtual
		case likely(dep, w.so):
			named = append(named, dep)
		case strings.HasPrefix(dep, "lib") || strings.HasPrefix(dep, "zlib"):
			others = append(others, dep)
		}
	}
	if len(named) > 0 {
		return named
	}
	return others
}

// lookIn takes the wanted libraries from unpacked packages, and what they ask for in their turn.
func (l *libraries) lookIn(pkgs []string) error {
	at := map[string]library{}
	for _, pkg := range pkgs {
		root := l.archive.roots[pkg]
		all, err := files(root)
		if err != nil {
			return err
		}
		for _, name := range all {
			if !strings.Contains(path.Base(name), ".so") {
				continue
			}
			// A link may point out of what was unpacked, to where the package would be installed.
			file, err := filepath.EvalSymlinks(filepath.Join(root, name))
			if err == nil && strings.HasPrefix(file, l.archive.dir) {
				at[path.Base(name)] = library{pkg, file}
			}
		}
	}
	var rest []wanted
	for len(l.open) > 0 {
		w := l.open[0]
		l.open = l.open[1:]
		if _, ok := l.found[w.so]; ok {
			continue
		}
		lib, ok := at[w.so]
		if !ok {
			rest = append(rest, w)
			continue
		}
		l.found[w.so] = lib
		l.want(lib.pkg, lib.file)
	}
	l.open = rest
	return nil
}

// missing names the libraries that were nowhere, with who asks for them.
func (l *libraries) missing() []string {
	var out []string
	for _, w := range l.open {
		out = append(out, fmt.Sprintf("%s, which %s of %s loads", w.so, path.Base(w.by), w.pkg))
	}
	return out
}

var (
	soSuffix  = regexp.MustCompile(`\.so(\.([0-9.]+))?$`)
	separator = strings.NewReplacer("-", "", "_", "", ".", "", "t64", "")
)

// likely says whether a package follows Debian's naming rule for the library.
func likely(pkg, so string) bool {
	m := soSuffix.FindStringSubmatch(so)
	if m == nil {
		return false
	}
	return separator.Replace(pkg) == separator.Replace(strings.ToLower(strings.TrimSuffix(so, m[0])+m[2]))
}

// needed lists the libraries an ELF file asks for, its loader among them.
func needed(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		var bad *elf.FormatError
		if errors.As(err, &bad) || isShort(file) {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if errors.Is(err, elf.ErrNoSymbols) {
		err = nil
	}
	return libs, err
}

func isShort(file string) bool {
	info, err := os.Stat(file)
	return err == nil && (info.Size() < 64 || !info.Mode().IsRegular())
}
