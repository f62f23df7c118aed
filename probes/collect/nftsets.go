package collect

import (
	"cmp"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"lvstui/internal/arrange"
)

// nftSet is a set or map with its elements.
type nftSet struct {
	anonymous, interval, isMap bool
	keyType                    uint32
	keyLen                     int
	elements                   []nftElement
	truncated                  bool
}

type nftElement struct {
	key, keyEnd []byte
	end         bool // the first value behind an interval
	catchall    bool
	verdict     *nftVerdict
}

type nftVerdict struct {
	code  int32
	chain string
}

// readSets lists all sets and reads their elements, at most elementLimit of each.
func (r *nftRuleset) readSets(nl *nlconn) error {
	err := nl.dump(nftGetSet, make([]byte, nfgenHeader), func(m nlmsg) error {
		if len(m.data) >= nfgenHeader {
			id, s := parseNFTSet(m.data)
			r.sets[id] = s
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, s := range r.sets {
		request := []byte{id.family, 0, 0, 0}
		request = attribute(request, unix.NFTA_SET_ELEM_LIST_TABLE, append([]byte(id.table), 0))
		request = attribute(request, unix.NFTA_SET_ELEM_LIST_SET, append([]byte(id.name), 0))
		err := nl.dump(nftGetElement, request, func(m nlmsg) error {
			if len(m.data) < nfgenHeader {
				return nil
			}
			s.elements = append(s.elements, parseNFTElements(m.data[nfgenHeader:])...)
			if len(s.elements) > elementLimit {
				s.elements, s.truncated = s.elements[:elementLimit], true
				return errStop
			}
			return nil
		})
		if errors.Is(err, unix.ENOENT) {
			return errInterrupted // removed meanwhile
		}
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
	}
	return nil
}

func parseNFTSet(data []byte) (nftID, *nftSet) {
	id, s := nftID{family: data[0]}, &nftSet{}
	for typ, v := range attributes(data[nfgenHeader:]) {
		switch typ {
		case unix.NFTA_SET_TABLE:
			id.table = getString(v)
		case unix.NFTA_SET_NAME:
			id.name = getString(v)
		case unix.NFTA_SET_FLAGS:
			flags := be32(v)
			s.anonymous, s.interval, s.isMap = flags&unix.NFT_SET_ANONYMOUS != 0, flags&unix.NFT_SET_INTERVAL != 0, flags&unix.NFT_SET_MAP != 0
		case unix.NFTA_SET_KEY_TYPE:
			s.keyType = be32(v)
		case unix.NFTA_SET_KEY_LEN:
			s.keyLen = int(be32(v))
		}
	}
	return id, s
}

func parseNFTElements(b []byte) []nftElement {
	var out []nftElement
	for typ, list := range attributes(b) {
		if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for _, item := range attributes(list) {
			var e nftElement
			for typ, v := range attributes(item) {
				switch typ {
				case unix.NFTA_SET_ELEM_KEY:
					e.key, _ = nftData(v)
				case unix.NFTA_SET_ELEM_DATA:
					_, e.verdict = nftData(v)
				case unix.NFTA_SET_ELEM_FLAGS:
					flags := be32(v)
					e.end, e.catchall = flags&unix.NFT_SET_ELEM_INTERVAL_END != 0, flags&2 != 0 // NFT_SET_ELEM_CATCHALL
				case 10: // NFTA_SET_ELEM_KEY_END
					e.keyEnd, _ = nftData(v)
				}
			}
			out = append(out, e)
		}
	}
	return out
}

// nftData reads a value or a verdict.
func nftData(b []byte) (value []byte, verdict *nftVerdict) {
	for typ, v := range attributes(b) {
		switch typ {
		case unix.NFTA_DATA_VALUE:
			value = slices.Clone(v)
		case unix.NFTA_DATA_VERDICT:
			verdict = &nftVerdict{}
			for typ, v := range attributes(v) {
				switch typ {
				case unix.NFTA_VERDICT_CODE:
					verdict.code = int32(be32(v))
				case unix.NFTA_VERDICT_CHAIN:
					verdict.chain = getString(v)
				}
			}
		}
	}
	return value, verdict
}

// spans are the values of a set: from and to, which are equal for a single one. Elements of interval sets are
// starts and ends, in no order.
func (s *nftSet) spans() []nftSpan {
	var out []nftSpan
	elements := slices.Clone(s.elements)
	arrange.By(elements, func(a, b nftElement) int {
		return cmp.Or(slices.Compare(a.key, b.key), compareBool(b.end, a.end))
	})
	for i, e := range elements {
		if e.end {
			continue
		}
		span := nftSpan{from: e.key, to: e.key, catchall: e.catchall, verdict: e.verdict}
		switch {
		case e.keyEnd != nil:
			span.to = e.keyEnd
		case s.interval && !e.catchall:
			span.to = slices.Repeat([]byte{0xff}, len(e.key)) // to the end, unless something follows
			if i+1 < len(elements) && slices.Compare(elements[i+1].key, e.key) > 0 {
				span.to = before(elements[i+1].key)
			}
		}
		out = append(out, span)
	}
	return out
}

type nftSpan struct {
	from, to []byte
	catchall bool
	verdict  *nftVerdict
}

// before is the number before b, big-endian.
func before(b []byte) []byte {
	out := slices.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]--
		if out[i] != 0xff {
			break
		}
	}
	return out
}

// texts are a set's elements as nft writes them.
func (s *nftSet) texts(kinds []kind) []string {
	out := []string{}
	for _, span := range s.spans() {
		out = append(out, span.text(kinds))
	}
	return out
}
