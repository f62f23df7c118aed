package file

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"lvstui/capture"
)

// Bounds for pasted text: a record of tcpdump -v takes a few hundred bytes.
const (
	maxLine   = 64 << 10
	maxRecord = 8 << 10

	wrapSample = 16 << 10 // of the text to see how its lines are broken
)

// textSource reads what tcpdump prints with -n or -nn, best with -e, with or without -v, -S, -tttt. A record
// begins with a time; lines that do not are taken as its continuation, as -v prints them and as pages wrap them.
type textSource struct {
	r       *bufio.Reader
	next    string // the line that ended the last record
	eof     bool
	err     error // of reading, for after the last record
	lines   int
	count   int
	skipped int
	names   map[int32]string
	ids     map[string]int32
	clock   clock
	seqs    sequences

	width    int  // at which a terminal broke the lines, 0: none did
	length   int  // of the line read last, as it came
	before   int  // of the one before it
	indented bool // the line read last is
	spaced   bool // the one before it ends with a space
	quoted   bool // with > or | in front of every line
	trailing bool // the line read last does
}

func newText(r *bufio.Reader) *textSource {
	begin, _ := r.Peek(min(r.Size(), wrapSample)) // shorter at the end of the file
	return &textSource{r: r, names: map[int32]string{}, ids: map[string]int32{}, seqs: newSequences(), width: wrapWidth(begin), quoted: isQuoted(begin)}
}

func (s *textSource) Frame() ([]byte, capture.LinkType) { return nil, capture.LinkEthernet }
func (s *textSource) Interfaces() map[int32]string      { return maps.Clone(s.names) }
func (s *textSource) Format() Format                    { return Text }
func (s *textSource) Skipped() int                      { return s.skipped }

func (s *textSource) Next(p *capture.Packet) error {
	for {
		rec, err := s.record()
		if err == io.EOF && s.count == 0 {
			return fmt.Errorf("%w: none of its %d lines is a packet as tcpdump -nn -e prints it, which begins with a time and has flags: -t and -q leave them out", ErrUnknown, s.lines)
		}
		if err != nil {
			return err
		}
		if s.parse(rec, p) {
			s.count++
			return nil
		}
		s.skipped++
	}
}

// record gives the next line that begins with a time, with the lines that continue it.
func (s *textSource) record() (string, error) {
	for !s.eof && s.next == "" {
		if line := s.line(); startsWithTime(line) {
			s.next = line
		} else if name, ok := strings.CutPrefix(line, "listening on "); ok {
			name, _, _ = strings.Cut(name, ",")
			s.names[0] = clean(name[:min(len(name), maxNameBytes)])
		}
	}
	if s.next == "" {
		if s.err != nil {
			return "", s.err
		}
		return "", io.EOF
	}
	rec := s.next
	s.next = ""
	for !s.eof {
		line := s.line()
		if startsWithTime(line) {
			s.next = line
			break
		}
		if line != "" && !isHexDump(line) && len(rec)+len(line) < maxRecord {
			rec += s.joint() + line
		}
	}
	return rec, nil
}

// line reads one line without what quoting adds in front. What is beyond maxLine of it is lost.
func (s *textSource) line() string {
	var b []byte
	for {
		part, err := s.r.ReadSlice('\n')
		if len(b) < maxLine {
			b = append(b, part...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			s.eof = true
			if err != io.EOF {
				s.err = fmt.Errorf("cannot read the capture behind line %d: %w", s.lines, err)
			}
		}
		break
	}
	s.lines++
	raw := fromPage.Replace(strings.TrimRight(string(b), "\r\n"))
	s.before, s.length = s.length, len(raw)
	s.spaced, s.trailing = s.trailing, strings.HasSuffix(raw, " ")
	s.indented = raw != "" && (raw[0] == ' ' || raw[0] == '\t')
	return s.body(raw)
}

// fromPage undoes what web pages make of text.
var fromPage = strings.NewReplacer("&gt;", ">", "&lt;", "<", "&amp;", "&", "\u00a0", " ")

// body is a line without indentation and, in a quoted text, without what quoting adds. Elsewhere an arrow belongs to the packet.
func (s *textSource) body(raw string) string {
	if s.quoted {
		return strings.Trim(raw, " \t>|")
	}
	return strings.Trim(raw, " \t")
}

// isQuoted is true if packets are behind a quotation mark.
func isQuoted(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if body := strings.TrimLeft(line, " \t>|"); startsWithTime(body) {
			return strings.ContainsAny(line[:len(line)-len(body)], ">|")
		}
	}
	return false
}

// joint is what belongs between a record and a line that continues it.
func (s *textSource) joint() string {
	if s.width > 0 && s.before == s.width && !s.indented && !s.spaced {
		return ""
	}
	return " "
}

// wrapWidth finds out from the beginning of a text at which width a terminal broke its lines, within numbers and MACs as well: nearly all
// lines that are continued are then equally long, and none is longer. It is 0 where lines are whole, or were broken between words as
// tcpdump -v and mail programs do.
func wrapWidth(text []byte) int {
	lines := strings.Split(strings.ReplaceAll(string(text), "\r", ""), "\n")
	width, broken, full := 0, 0, 0
	for _, line := range lines {
		width = max(width, len(line))
	}
	for i := 0; i+1 < len(lines)-1; i++ { // the last one may be cut
		next := lines[i+1]
		body := strings.TrimLeft(next, " \t>|")
		if body == "" || startsWithTime(body) || isHexDump(body) || next[0] == ' ' || next[0] == '\t' {
			continue
		}
		broken++
		if len(lines[i]) == width {
			full++
		}
	}
	if full >= 2 && full*10 >= broken*8 {
		return width
	}
	return 0
}

func isHexDump(line string) bool {
	head, _, ok := strings.Cut(line, ":")
	if !ok || len(head) < 5 || !strings.HasPrefix(head, "0x") {
		return false
	}
	_, err := strconv.ParseUint(head[2:], 16, 32) // an offset, and not the rest of a broken line such as "0x64ab), seq 1:6"
	return err == nil
}

// interfaceID numbers the interfaces that tcpdump -i any names.
func (s *textSource) interfaceID(name string) int32 {
	if id, ok := s.ids[name]; ok {
		return id
	}
	if len(s.ids) >= maxInterfaces {
		return 0
	}
	id := int32(len(s.ids) + 1)
	s.ids[name] = id
	s.names[id] = clean(name[:min(len(name), maxNameBytes)])
	return id
}

// clock turns printed times into nanoseconds. Times of day without a date count from 1970-01-01, and a
// jump back by more than half a day is midnight. Times that begin at zero are since the first packet (-ttttt), or, if they then jump back,
// since the one before (-ttt).
type clock struct {
	last, sum int64
	days      int64
	any       bool
	fromZero  bool
	deltas    bool
}

const (
	day = int64(24 * time.Hour)
	// swapped is how far apart two packets are at most that two processors delivered in the wrong order.
	swapped = int64(100 * time.Microsecond)
)

// read takes a time off the front of line: 13:22:28.360656, with a date before it (-tttt), or seconds
// since 1970 (-tt).
func (c *clock) read(line string) (t int64, rest string, ok bool) {
	word, rest := nextWord(line)
	if _, numbered := digits(word); numbered && len(word) < 8 { // -#
		word, rest = nextWord(rest)
	}
	if date, err := time.Parse(time.DateOnly, word); err == nil {
		word, rest = nextWord(rest)
		t, ok = timeOfDay(word)
		return date.UnixNano() + t, rest, ok
	}
	if t, ok = epoch(word); ok {
		return t, rest, true
	}
	if t, ok = timeOfDay(word); !ok {
		return 0, rest, false
	}
	switch {
	case !c.any:
		c.fromZero = t == 0
	case c.deltas:
	case t < c.last-day/2:
		c.days++
	case c.fromZero && t < c.last/2 && c.last-t > swapped:
		c.deltas = true
	}
	c.last, c.any = t, true
	if c.deltas {
		c.sum += t
	} else {
		c.sum = t + c.days*day
	}
	return c.sum, rest, true
}

func startsWithTime(line string) bool {
	var c clock
	_, _, ok := c.read(line)
	return ok
}

// timeOfDay reads hh:mm:ss with an optional fraction.
func timeOfDay(s string) (int64, bool) {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return 0, false
	}
	h, ok1 := digits(s[0:2])
	m, ok2 := digits(s[3:5])
	sec, ok3 := digits(s[6:8])
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || sec > 60 {
		return 0, false
	}
	frac, ok := fraction(s[8:])
	return ((h*60+m)*60+sec)*1e9 + frac, ok
}

// epoch reads seconds since 1970 with a fraction: at least 9 digits, so that no other number is taken for one.
func epoch(s string) (int64, bool) {
	whole, frac, ok := strings.Cut(s, ".")
	if !ok || len(whole) < 9 || len(whole) > 10 {
		return 0, false
	}
	sec, ok1 := digits(whole)
	ns, ok2 := fraction("." + frac)
	return sec*1e9 + ns, ok1 && ok2
}

// fraction reads .360656 as nanoseconds; nothing is zero.
func fraction(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	if s[0] != '.' && s[0] != ',' || len(s) < 2 || len(s) > 10 {
		return 0, false
	}
	n, ok := digits(s[1:])
	for range 10 - len(s) {
		n *= 10
	}
	return n, ok
}

// digits reads a decimal number of at most 18 digits and nothing else.
func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func nextWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}
