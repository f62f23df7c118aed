// Package lvs holds the words lvstui speaks in: the stages of an LVS-DR handshake, roles, forwarding
// methods, and Snapshot, the facts of one host at one time. It is pure: it reads nothing, changes
// nothing and imports the standard library only, so that every other package can share it.
package lvs

import "slices"

// Stage is one step of the handshake path, in the spelling used by JSON, filters and documentation.
type Stage string

// The eleven stages, in the order a handshake passes them. See Stages.
const (
	SynSent         Stage = "syn-sent"           // the client's SYN leaves the client
	VIPResolved     Stage = "vip-resolved"       // on the segment exactly the director answers for the VIP
	SynAtDirector   Stage = "syn-at-director"    // the SYN arrives, addressed to the director's MAC
	SynScheduled    Stage = "syn-scheduled"      // accepted as local, let through, matched, a destination chosen
	SynForwarded    Stage = "syn-forwarded"      // leaves with the real server's MAC, IP header unchanged
	SynAtRealServer Stage = "syn-at-real-server" // arrives from the director's MAC
	SynAccepted     Stage = "syn-accepted"       // VIP local, source valid, let through, a socket listens
	SynAckSent      Stage = "syn-ack-sent"       // leaves with source VIP, right interface, to the router
	SynAckAtClient  Stage = "syn-ack-at-client"  // the network carries it to the client
	AckAtDirector   Stage = "ack-at-director"    // the client's ACK comes back through the director
	Established     Stage = "established"        // the ACK reaches the same real server; data flows
)

// Stages lists the handshake path in order.
var Stages = []Stage{SynSent, VIPResolved, SynAtDirector, SynScheduled, SynForwarded, SynAtRealServer,
	SynAccepted, SynAckSent, SynAckAtClient, AckAtDirector, Established}

// Index is the stage's place in the path, 0 for syn-sent, or -1 for an unknown word.
func (s Stage) Index() int { return slices.Index(Stages, s) }

// stageTitles are the stages for a person, in the order of Stages.
var stageTitles = [...]string{"SYN sent", "VIP leads to director", "SYN at director", "scheduled", "forwarded", "SYN at real server",
	"accepted there", "SYN-ACK sent", "SYN-ACK at client", "ACK at director", "established"}

// Title is the stage for a person, in a few words.
func (s Stage) Title() string {
	if i := s.Index(); i >= 0 {
		return stageTitles[i]
	}
	return string(s)
}

// StageState says what one flow tells about one stage.
type StageState string

const (
	Seen         StageState = "seen"         // a packet proved it
	Implied      StageState = "implied"      // a later stage proves it
	Missing      StageState = "missing"      // it should have been seen from here and was not
	Pending      StageState = "pending"      // not yet due
	Unobservable StageState = "unobservable" // cannot be seen from this vantage
)

// StageStatus says how a stage of the path stands, judged from snapshot and flows together.
type StageStatus string

const (
	StageOK      StageStatus = "ok"
	StageBroken  StageStatus = "broken"
	StageSuspect StageStatus = "suspect"
	StageUnknown StageStatus = "unknown" // could not look; never the same as ok
)

// Role is what a host does in the cluster. A host may have several: roles are a set.
type Role string

const (
	RoleClient     Role = "client"
	RoleRouter     Role = "router"
	RoleDirector   Role = "director"
	RoleRealServer Role = "real-server"
)

// Vantage is the place in the path from which packets were captured. Its words are those of Role.
type Vantage = Role

// Forward is an IPVS forwarding method.
type Forward string

// The kernel's IP_VS_CONN_F_FWD_MASK values 0 to 4 (include/uapi/linux/ip_vs.h), as ipvsadm names them.
const (
	Masq   Forward = "masq"
	Local  Forward = "local"
	IPIP   Forward = "ipip"
	Gate   Forward = "gate" // direct routing
	Bypass Forward = "bypass"
)

// Protocol is a transport protocol in lower case.
type Protocol string

const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)
