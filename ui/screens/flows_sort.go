package screens

import (
	"cmp"
	"slices"

	"lvstui/capture"
)

// flowOrder is what the list of flows is sorted by.
type flowOrder int

const (
	newestFlow flowOrder = iota
	troubleFirst
	byStage
	byClient
	byRealServer
	flowOrders // how many there are
)

var orderWords = [flowOrders]string{"age", "trouble", "stage", "client", "real server"}

// sort orders the flows that are shown; what is equal is newest first.
func (s *Flows) sort() {
	order := func(a, b *capture.Flow) int { return 0 }
	switch s.order {
	case troubleFirst:
		order = func(a, b *capture.Flow) int {
			return slices.Index(Outcomes, a.Outcome) - slices.Index(Outcomes, b.Outcome)
		}
	case byStage:
		order = func(a, b *capture.Flow) int { return a.Reached.Index() - b.Reached.Index() }
	case byClient:
		order = func(a, b *capture.Flow) int { return a.Client.Addr().Compare(b.Client.Addr()) }
	case byRealServer:
		order = func(a, b *capture.Flow) int { return cmp.Compare(s.realServer(a), s.realServer(b)) }
	}
	slices.SortStableFunc(s.shown, func(a, b *capture.Flow) int { return cmp.Or(order(a, b), b.FirstSeen.Compare(a.FirstSeen)) })
}
