package keys

// Section is the keys of one place.
type Section struct {
	Title    string
	Bindings []Binding
}

// The table. A key has the same meaning in every place that has it.
var (
	Up       = Binding{[]string{"up", "k"}, "↑ k", "up", "go up a row"}
	Down     = Binding{[]string{"down", "j"}, "↓ j", "down", "go down a row"}
	First    = Binding{[]string{"home", "g"}, "g", "first", "go to the first row"}
	Last     = Binding{[]string{"end", "G"}, "G", "last", "go to the last row"}
	PageUp   = Binding{[]string{"pgup", "ctrl+u"}, "pgup", "page up", "go up a page (also ctrl+u)"}
	PageDown = Binding{[]string{"pgdown", "ctrl+d"}, "pgdn", "page down", "go down a page (also ctrl+d)"}
	Enter    = Binding{[]string{"enter"}, "enter", "details", "open what is selected"}
	Leave    = Binding{[]string{"esc"}, "esc", "back", "leave what was opened; clear a filter"}

	NextTab  = Binding{[]string{"tab"}, "tab", "next screen", "go to the next screen; digits go to a screen by its number"}
	PrevTab  = Binding{[]string{"shift+tab"}, "shift+tab", "previous screen", "go to the previous screen"}
	Hosts    = Binding{[]string{"h"}, "h", "hosts", "choose the host to look at"}
	NextHost = Binding{[]string{"]"}, "]", "next host", "look at the next host"}
	PrevHost = Binding{[]string{"["}, "[", "previous host", "look at the previous host"}
	Pause    = Binding{[]string{"p"}, "p", "pause", "freeze the screen, or let it go on; what came meanwhile is counted"}
	Write    = Binding{[]string{"w"}, "w", "write", "write the packets that come from now on to a pcapng file, as filtered on Flows; w again ends it"}
	Test     = Binding{[]string{"t"}, "t", "test", "active tests: show what would be sent, and there send it: who answers for the VIP, which real server takes it"}
	Undo     = Binding{[]string{"z"}, "z", "undo", "take back a change: the selected one on Changes, else the last one of this host, after a question"}
	Help     = Binding{[]string{"?"}, "?", "help", "show all keys that are valid here"}
	Quit     = Binding{[]string{"q"}, "q", "quit", "leave lvstui; what is open on top is left first"}
	QuitNow  = Binding{[]string{"ctrl+c"}, "ctrl+c", "quit now", "leave lvstui at once"}

	Fix     = Binding{[]string{"f"}, "f", "fix", "show the cure of the selected finding: what would be done, how it is undone, the risk"}
	Explain = Binding{[]string{"e"}, "e", "explain", "explain the selected finding: what breaks, how to see it by hand, how to cure it"}
	Copy    = Binding{[]string{"y"}, "y", "copy", "copy what is selected as text to your terminal's clipboard (OSC 52)"}
	Filter  = Binding{[]string{"/"}, "/", "filter",
		"filter the flows: state:stalled client:10.0.0.0/8 stage:syn-forwarded rs:192.168.10.11 vip:172.16.0.8, or any text; tab completes a word"}
	Sort  = Binding{[]string{"s"}, "s", "sort", "sort the flows by age, trouble, stage, client or real server, one after the other"}
	Group = Binding{[]string{"b"}, "b", "group", "count the flows by client, real server or stage, one after the other; enter lists those of one"}
	Mark  = Binding{[]string{"m"}, "m", "compare", "mark a flow; on another one: show both side by side, and where they part"}

	Apply    = Binding{[]string{"a"}, "a", "apply", "make the change, step by step, and look again"}
	Dry      = Binding{[]string{"d"}, "d", "dry run", "work out what the change would do, without doing it"}
	Plan     = Binding{[]string{"f"}, "f", "plan", "show what would be done here, in the box that can do it"}
	Forget   = Binding{[]string{"x"}, "x", "forget", "forget the answers given so far; nothing on the host changes"}
	Keep     = Binding{[]string{"c"}, "c", "keep", "keep the change that waits for it; in the box it is kept, elsewhere the box opens"}
	NextBoot = Binding{[]string{"b"}, "b", "next boot", "write it for the next boot too, or not, which is the usual"}
	Turn     = Binding{[]string{"o"}, "o", "from files", "the other way about, where what runs and what the files say differ: this host as the files say, or back"}
	Yes      = Binding{[]string{"y"}, "y", "yes", "yes, do it"}
	No       = Binding{[]string{"n", "esc"}, "n", "no", "no, leave everything as it is"}
)

// Table is every key there is, by place.
func Table() []Section {
	return []Section{
		{"Everywhere", []Binding{NextTab, PrevTab, Hosts, NextHost, PrevHost, Pause, Write, Test, Keep, Undo, Help, Quit, QuitNow}},
		{"Lists and texts", []Binding{Up, Down, First, Last, PageUp, PageDown, Enter, Leave}},
		{"Path", []Binding{Fix, Explain, Copy}},
		{"Flows", []Binding{Filter, Sort, Group, Mark, Explain, Copy}},
		{"Setup", []Binding{Plan, Copy, Forget}},
		{"Fix", []Binding{Apply, Dry, NextBoot, Turn, Keep, Copy, Leave}},
		{"Question", []Binding{Yes, No}},
	}
}
