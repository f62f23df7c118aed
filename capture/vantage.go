package capture

import (
	"slices"

	"lvstui/lvs"
)

// view is a record read with the eyes of one vantage: it knows which sightings went in and which out,
// also where the file does not say.
type view struct {
	r       *record
	vantage lvs.Vantage
	guessed bool
	// A capture without directions that shows no frame twice: one end of the connection, or one leg of
	// a forwarding host.
	oneLeg bool
}

func (t *Tracker) view(r *record) view {
	v := view{r: r, vantage: t.cfg.Vantage}
	if v.vantage == "" {
		v.vantage, v.guessed = t.inferVantage(r), true
		if v.vantage == lvs.RoleDirector && t.cfg.NoServices {
			v.vantage = lvs.RoleRealServer // it swallows the SYN
			if r.lanes[toVirtual][slotOut].frames > 0 {
				v.vantage = lvs.RoleRouter // it hands the SYN on
			}
		}
	}
	v.oneLeg = r.has(directionless) && r.lanes[toVirtual][slotOut].frames == 0 && r.lanes[toClient][slotOut].frames == 0
	return v
}

// direction of a frame in a file without directions, as the vantage implies it.
func (v *view) direction(toVIP, forwarded bool) Direction {
	switch {
	case !v.r.has(directionless):
		return Unknown
	case forwarded:
		return Out
	case !v.oneLeg:
		return In
	case v.vantage == lvs.RoleRouter:
		return Unknown // one leg of it: what came in there also went out elsewhere, or the reverse
	case v.vantage == lvs.RoleClient && toVIP, v.vantage == lvs.RoleRealServer && !toVIP:
		return Out
	case v.vantage == lvs.RoleDirector && !toVIP:
		// What a director sees of the VIP's side it sends itself, unless real servers send it their replies.
		own, from := v.r.lanes[toVirtual][slotIn].dst, v.r.lanes[toClient][slotIn].src
		if own == from || own == (MAC{}) || from == (MAC{}) {
			return Out
		}
	}
	return In
}

var none sighting

// in is the first frame of class c on its way in, or an unset sighting.
func (v *view) in(c class) *sighting { return v.look(c, In) }

// out is the first frame of class c on its way out.
func (v *view) out(c class) *sighting { return v.look(c, Out) }

func (v *view) look(c class, d Direction) *sighting {
	slot := slotIn
	if d == Out {
		slot = slotOut
	}
	if !v.oneLeg {
		return &v.r.sights[c][slot]
	}
	if got := v.direction(c == clsSYN || c == clsACK || c == clsRSTc, false); got != Unknown && got != d {
		return &none
	}
	return &v.r.sights[c][slotIn] // on one leg of a router what is there has come in and will go out, or the reverse
}

// inferVantage guesses where the flow was captured. It is a guess from one flow alone: a caller that knows
// the host's roles says so in Config.Vantage.
func (t *Tracker) inferVantage(r *record) lvs.Vantage {
	if r.has(directionless) {
		return inferUndirected(r)
	}
	_, clientLocal := t.local[r.client().Addr()]
	_, vipLocal := t.local[r.virtual().Addr()]
	foreign := len(t.local) > 0 && !clientLocal // whose addresses are known and do not have the client's is not the client
	cIn, cOut := r.lanes[toVirtual][slotIn].frames > 0, r.lanes[toVirtual][slotOut].frames > 0
	vIn, vOut := r.lanes[toClient][slotIn].frames > 0, r.lanes[toClient][slotOut].frames > 0
	switch {
	case r.has(hasAlias) && (vipLocal || len(t.local) == 0):
		return lvs.RoleDirector // or a router that rewrites, if it is not known to have no services
	case cIn && cOut && slices.Contains(t.cfg.RealServers, r.lanes[toVirtual][slotOut].dst):
		return lvs.RoleDirector // of a service by mark the VIP is not local
	case clientLocal && !cIn:
		return lvs.RoleClient
	case cIn && cOut && vipLocal:
		return lvs.RoleDirector
	case cIn && cOut && (vIn || len(t.local) > 0): // gate keeps the SYN-ACK away from the director
		return lvs.RoleRouter
	case cIn && cOut:
		return lvs.RoleDirector
	case cOut && !vIn && !startTTL(ttlOf(r, clsSYN)):
		return lvs.RoleDirector
	case cOut && !startTTL(ttlOf(r, clsSYN)):
		return lvs.RoleRouter
	case cOut && foreign && vipLocal:
		return lvs.RoleDirector
	case cOut && foreign:
		return lvs.RoleRouter
	case cOut:
		return lvs.RoleClient
	case cIn && vOut, vOut && !vIn:
		return lvs.RoleRealServer
	case cIn && vIn, vIn && vOut:
		return lvs.RoleRouter
	case cIn:
		return lvs.RoleDirector // or a real server that swallows the SYN: the capture alone cannot tell
	case foreign:
		return lvs.RoleRouter
	}
	return lvs.RoleClient
}

// inferUndirected does the same for a file without directions, from MACs, TTLs and gaps in time.
func inferUndirected(r *record) lvs.Vantage {
	c, v := &r.lanes[toVirtual], &r.lanes[toClient]
	switch {
	case r.has(hasAlias):
		return lvs.RoleDirector
	case c[slotOut].frames > 0 && v[slotIn].frames > 0, v[slotOut].frames > 0:
		return lvs.RoleRouter
	case c[slotOut].frames > 0:
		return lvs.RoleDirector
	case v[slotIn].frames == 0:
		if ttl := ttlOf(r, clsSYN); startTTL(ttl) {
			return lvs.RoleClient
		}
		return lvs.RoleDirector
	case c[slotIn].frames == 0:
		if ttl := v[slotIn].lastTTL; ttl != 0 && startTTL(ttl) {
			return lvs.RoleRealServer
		}
		return lvs.RoleClient
	}
	if c[slotIn].src != (MAC{}) && v[slotIn].src != (MAC{}) && c[slotIn].dst != (MAC{}) {
		// An end has one MAC of its own for both ways. The client also has one neighbour for both ways,
		// its router; a real server gets from the director and sends to the router.
		clientSame, serverSame := c[slotIn].src == v[slotIn].dst, c[slotIn].dst == v[slotIn].src
		switch {
		case clientSame && !serverSame:
			return lvs.RoleClient
		case serverSame && !clientSame:
			return lvs.RoleRealServer
		case !clientSame && !serverSame:
			return lvs.RoleRouter
		}
	}
	return nearerEnd(r)
}

// nearerEnd tells the client from a real server whose two neighbours are one host. Near its sender a
// packet still has the TTL it started with, and an answer follows at once.
func nearerEnd(r *record) lvs.Vantage {
	c, v := r.lanes[toVirtual][slotIn].lastTTL, r.lanes[toClient][slotIn].lastTTL
	if c != 0 && v != 0 && startTTL(c) != startTTL(v) {
		if startTTL(c) {
			return lvs.RoleClient
		}
		return lvs.RoleRealServer
	}
	syn, synAck, ack := &r.sights[clsSYN][slotIn], &r.sights[clsSYNACK][slotIn], &r.sights[clsACK][slotIn]
	switch {
	case !syn.set || !synAck.set:
	case !ack.set && !r.saw(clsRSTc): // a client answers each SYN-ACK that it gets
		return lvs.RoleRealServer
	case ack.set && synAck.time-syn.time < ack.time-synAck.time:
		return lvs.RoleRealServer
	}
	return lvs.RoleClient
}

func ttlOf(r *record, c class) uint8 {
	for slot := range r.sights[c] {
		if s := &r.sights[c][slot]; s.set {
			return s.ttl
		}
	}
	return r.lanes[toVirtual][slotIn].lastTTL
}

// startTTL is true for a TTL no router has lowered yet, by the starting values in use, and for an unknown one.
func startTTL(ttl uint8) bool { return ttl == 0 || ttl == 64 || ttl == 128 || ttl == 255 }
