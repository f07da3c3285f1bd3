package deadletter

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// Filter selects dead letters: those that match every field that is set.
type Filter struct {
	// Route that the request was published to.
	Route string
	// Reason that it was set aside for: a kind of failure, or poisonous.
	Reason string
	// Worker that tried it at least once.
	Worker string
	// ID of the request.
	ID string
	// Tenant of the caller.
	Tenant string
	// Since and Until bound the time at which it was set aside: from Since on,
	// before Until.
	Since, Until time.Time
	// Contains is a text that the request's body contains.
	Contains string
}

// Match says whether the filter selects a dead letter.
func (f Filter) Match(l wire.DeadLetter) bool {
	return same(f.Route, l.Route) && same(f.Reason, l.Reason) && same(f.ID, l.ID) &&
		same(f.Tenant, bus.Header(l.Headers).Get(wire.HeaderTenant)) &&
		(f.Worker == "" || slices.ContainsFunc(l.Attempts, func(a wire.Attempt) bool { return a.Worker == f.Worker })) &&
		!l.At.Before(f.Since) && (f.Until.IsZero() || l.At.Before(f.Until)) &&
		bytes.Contains(Body(l), []byte(f.Contains))
}

func same(wanted, have string) bool { return wanted == "" || wanted == have }

// Body returns the request's body as it was published.
func Body(l wire.DeadLetter) []byte {
	if l.Body != nil {
		return l.Body
	}
	return l.Raw
}

// String names the fields that are set, for people and for the record.
func (f Filter) String() string {
	var set []string
	add := func(name, value string) {
		if value != "" {
			set = append(set, name+"="+value)
		}
	}
	add("route", f.Route)
	add("reason", f.Reason)
	add("worker", f.Worker)
	add("id", f.ID)
	add("tenant", f.Tenant)
	add("since", stamp(f.Since))
	add("until", stamp(f.Until))
	add("contains", f.Contains)
	if len(set) == 0 {
		return "all"
	}
	return strings.Join(set, " ")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
