package wire

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Lanes is how many lanes a route's traffic is split into by the broker.
const Lanes = 10

// Streams and buckets that exist once. A route adds a stream of its own.
const (
	StreamRetries     = "RETRIES"
	StreamDeadLetters = "DEADLETTERS"
	StreamEvents      = "EVENTS"

	BucketOwners     = "owners"
	BucketRoutes     = "routes"
	BucketWorkers    = "workers"
	BucketAccepted   = "accepted"
	BucketSuspects   = "suspects"
	BucketSupervisor = "supervisor"
	BucketLimits     = "limits"
	BucketSettings   = "settings"
	BucketDiagnoses  = "diagnoses"
	bucketResults    = "results"
)

// Wildcards over subjects.
const (
	SubjectsCancel      = "llm.cancel.*"
	SubjectsHealth      = "llm.health.*.*"
	SubjectsInFlight    = "llm.inflight.*"
	SubjectsDeadLetters = "llm.deadletters.>"
	SubjectsEvents      = "llm.events.>"
	// SubjectsRetriesDue is where retries arrive when they are due, one subject
	// a route; SubjectsRetriesWaiting is where they wait, one subject a retry.
	SubjectsRetriesDue     = "llm.retries.*"
	SubjectsRetriesWaiting = "llm.retries.*.>"
)

// RequestSubject is where a client publishes a request.
func RequestSubject(route string) string { return "llm.requests." + route }

// AskSubject is where a client asks and waits for the reply.
func AskSubject(route string) string { return "llm.ask." + route }

// TokensSubject is where tokens go when the client named no subject.
func TokensSubject(id string) string { return "llm.tokens." + id }

// CancelSubject is where a client takes a request back.
func CancelSubject(id string) string { return "llm.cancel." + id }

// InFlightSubject is where the worker that holds a request answers for it.
func InFlightSubject(id string) string { return "llm.inflight." + id }

// HealthSubject is where an instance says how it is.
func HealthSubject(worker, instance string) string { return "llm.health." + worker + "." + instance }

// DeadLetterSubject is where a route's dead letters go.
func DeadLetterSubject(route, reason string) string {
	return "llm.deadletters." + route + "." + reason
}

// EventSubject is where an event goes.
func EventSubject(kind EventKind, name string) string {
	return "llm.events." + string(kind) + "." + name
}

// HedgeSubject is where a worker is asked for an answer to a request that
// another one holds.
func HedgeSubject(route, worker string) string { return "llm.hedges." + route + "." + worker }

// RetrySubject is where a retry waits until it is due.
func RetrySubject(route, dedupeID string) string { return "llm.retries." + route + "." + dedupeID }

// RequestStream is the stream of a route.
func RequestStream(route string) string { return "REQUESTS_" + route }

// ResultsBucket is the bucket that holds the results of a durability class.
func ResultsBucket(d Durability) string {
	if d == "" || d == DurabilityStrict {
		return bucketResults
	}
	return bucketResults + "_" + string(d)
}

// Lane names one of the queues inside a route: "0" to "9", "parked", "retry",
// or "handoff.<worker>". It is also the second half of its key in the bucket
// of owners.
type Lane string

// The lanes that are not numbered.
const (
	LaneParked Lane = "parked"
	LaneRetry  Lane = "retry"
)

// NumberedLane returns the lane with the given number, 0 to Lanes-1.
func NumberedLane(n int) Lane { return Lane(strconv.Itoa(n)) }

// HandoffLane returns the lane of requests handed off to a worker.
func HandoffLane(worker string) Lane { return Lane("handoff." + worker) }

// Number returns the number of a numbered lane.
func (l Lane) Number() (int, bool) {
	if len(l) == 1 && l[0] >= '0' && l[0] <= '9' {
		return int(l[0] - '0'), true
	}
	return 0, false
}

// HandoffTo returns the worker of a handoff lane.
func (l Lane) HandoffTo() (worker string, ok bool) {
	return strings.CutPrefix(string(l), "handoff.")
}

// Stream is the stream that the lane is part of.
func (l Lane) Stream(route string) string {
	if l == LaneRetry {
		return StreamRetries
	}
	return RequestStream(route)
}

// Subject is the subject that the lane's messages are stored under.
func (l Lane) Subject(route string) string {
	if worker, ok := l.HandoffTo(); ok {
		return "llm.handoffs." + route + "." + worker
	}
	switch l {
	case LaneParked:
		return "llm.parked." + route
	case LaneRetry:
		return "llm.retries." + route
	}
	return "llm.lanes." + route + "." + string(l)
}

// Consumer is the name of the lane's durable consumer.
func (l Lane) Consumer(route string) string {
	name := "lane_" + strings.ReplaceAll(string(l), ".", "_")
	if l == LaneRetry {
		return name + "_" + route
	}
	return name
}

// OwnerKey is the lane's key in the bucket of owners.
func (l Lane) OwnerKey(route string) string { return route + "." + string(l) }

// ParseOwnerKey splits a key of the bucket of owners.
func ParseOwnerKey(key string) (route string, lane Lane, err error) {
	route, rest, ok := strings.Cut(key, ".")
	if !ok {
		return "", "", fmt.Errorf("owner key %q: want <route>.<lane>", key)
	}
	return route, Lane(rest), nil
}

var (
	validID   = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,128}$`)
	validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
)

// ValidID says whether a request id can serve as a subject and a KV key.
func ValidID(id string) bool { return validID.MatchString(id) }

// ValidName says whether a route's or a worker's name can serve as a subject
// token, a KV key and a part of a stream's name.
func ValidName(name string) bool { return validName.MatchString(name) }
