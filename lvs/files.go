package lvs

// ConfigFile is a configuration file that decides what the next boot, or a reload of its owner, gives. Secrets are taken
// out before it enters a Snapshot.
type ConfigFile struct {
	// Path is where the host has it: absolute, without the root it was read below.
	Path string `json:"path"`
	// Text is its content; empty for a file that masks another one of its name (a link to /dev/null).
	Text string `json:"text"`
	// Mode is its permission bits.
	Mode uint32 `json:"mode"`
	// Link is what Path leads to when it is a symbolic link, as an absolute path.
	Link string `json:"link,omitempty"`
	// Cut says that Text is not all of the file: it was too long, or secrets were taken out. It must not be written back.
	Cut bool `json:"cut,omitempty"`
}

// File returns the configuration file of that path.
func (s *Snapshot) File(path string) (ConfigFile, bool) {
	for _, f := range s.Files {
		if f.Path == path {
			return f, true
		}
	}
	return ConfigFile{}, false
}
