package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"understudy/pkg/wire"
)

const (
	priorityGroup = "owners"
	// dedupeWindow is how long a repeated publish under the same id is noticed.
	dedupeWindow = 2 * time.Minute
	// maxAckPending is at least twice what a fleet of workers holds at once.
	maxAckPending = 20000

	defaultMaxBytes = 1 << 30
	defaultAckWait  = 15 * time.Second
	keepResults     = 24 * time.Hour
	keepEvents      = 30 * 24 * time.Hour
	maxEventsBytes  = 256 << 20
)

// prepare creates what exists once, and reports what the broker lacks.
func (b *Bus) prepare(ctx context.Context, cfg Config) error {
	for _, s := range []jetstream.StreamConfig{
		{
			Name: wire.StreamRetries, Subjects: []string{wire.SubjectsRetriesDue, wire.SubjectsRetriesWaiting},
			Description: "Requests that wait for their next try, and those that are due",
			Retention:   jetstream.WorkQueuePolicy, AllowMsgSchedules: true, AllowMsgTTL: true,
		},
		{
			Name: wire.StreamDeadLetters, Subjects: []string{wire.SubjectsDeadLetters},
			Description: "Requests set aside for a person", Duplicates: time.Hour, AllowDirect: true,
		},
		{
			Name: wire.StreamEvents, Subjects: []string{wire.SubjectsEvents},
			Description: "What happened and why", MaxAge: keepEvents, MaxBytes: maxEventsBytes, AllowDirect: true,
		},
	} {
		if err := b.ensureStream(ctx, s); err != nil {
			return err
		}
	}
	for _, name := range []string{wire.BucketOwners, wire.BucketRoutes, wire.BucketWorkers, wire.BucketSettings, wire.BucketDiagnoses} {
		if err := b.ensureStream(ctx, bucketStream(name, 0)); err != nil {
			return err
		}
	}
	if err := b.ensureStream(ctx, bucketStream(wire.BucketSupervisor, leaseTTL)); err != nil {
		return err
	}
	limits := bucketStream(wire.BucketLimits, 0)
	limits.Storage = jetstream.MemoryStorage // lost, it costs one burst
	if err := b.ensureStream(ctx, limits); err != nil {
		return err
	}
	for _, name := range []string{wire.BucketAccepted, wire.BucketSuspects} {
		if err := b.ensureStream(ctx, bucketStream(name, keepResults)); err != nil {
			return err
		}
	}
	if err := b.ensureResults(ctx, wire.DurabilityStrict); err != nil {
		return err
	}
	if err := b.writeBrokerNote(ctx); err != nil {
		return err
	}
	for _, f := range b.Findings(ctx, cfg.MonitorURL) {
		if !f.OK {
			b.log.Error().Str("check", f.Name).Msg(f.Detail)
		}
	}
	return nil
}

func (b *Bus) ensureResults(ctx context.Context, d wire.Durability) error {
	s := bucketStream(wire.ResultsBucket(d), keepResults)
	durable(&s, d)
	return b.ensureStream(ctx, s)
}

// bucketStream is the stream underneath a KV bucket (NATS ADR-8), written out
// because the client's own constructor knows no durability.
func bucketStream(bucket string, ttl time.Duration) jetstream.StreamConfig {
	s := jetstream.StreamConfig{
		Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"},
		MaxMsgsPerSubject: 1, MaxAge: ttl, Discard: jetstream.DiscardNew,
		AllowRollup: true, DenyDelete: true, AllowDirect: true, AllowMsgTTL: true,
		Duplicates: dedupeWindow,
	}
	if ttl > 0 && ttl < dedupeWindow {
		s.Duplicates = ttl
	}
	return s
}

func durable(s *jetstream.StreamConfig, d wire.Durability) {
	switch d {
	case wire.DurabilityFast:
		s.PersistMode = jetstream.AsyncPersistMode
	case wire.DurabilityMemory:
		s.Storage = jetstream.MemoryStorage
	}
}

// ensureStream creates a stream, or brings its limits up to date. Replicas are
// never lowered: a tool that was not told of the cluster must not shrink it.
func (b *Bus) ensureStream(ctx context.Context, s jetstream.StreamConfig) error {
	s.Replicas = b.replicas
	present, err := b.js.Stream(ctx, s.Name)
	if err == nil {
		s.Replicas = max(s.Replicas, present.CachedInfo().Config.Replicas)
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("read stream %s: %w", s.Name, err)
	}
	if _, err := b.js.CreateOrUpdateStream(ctx, s); err != nil {
		return fmt.Errorf("create stream %s: %w", s.Name, err)
	}
	return nil
}

// EnsureRoute creates a route's queue and one consumer for each of its lanes.
// It may be called any number of times: what exists stays as it is, but for
// the limits and the ack wait. Consumers of workers that left the chain stay,
// since their lanes may hold requests.
func (b *Bus) EnsureRoute(ctx context.Context, name string, route wire.Route) error {
	s := jetstream.StreamConfig{
		Name:     wire.RequestStream(name),
		Subjects: []string{wire.RequestSubject(name), wire.HandoffLane("*").Subject(name), wire.LaneParked.Subject(name)},
		SubjectTransform: &jetstream.SubjectTransformConfig{
			Source:      wire.RequestSubject(name),
			Destination: fmt.Sprintf("llm.lanes.%s.{{random(%d)}}", name, wire.Lanes),
		},
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		MaxBytes: route.MaxBytes, Duplicates: dedupeWindow, AllowDirect: true,
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = defaultMaxBytes
	}
	durable(&s, route.Durability)
	if err := b.ensureStream(ctx, s); err != nil {
		return err
	}
	if err := b.ensureResults(ctx, route.Durability); err != nil {
		return err
	}
	for _, lane := range RouteLanes(route) {
		if err := b.ensureLane(ctx, name, lane, route.AckWait.Or(defaultAckWait)); err != nil {
			return err
		}
	}
	return nil
}

// RouteLanes lists the lanes of a route: the numbered ones, one handoff lane
// for each worker of its split and its chain, the parked lane, and retries.
func RouteLanes(route wire.Route) []wire.Lane {
	var lanes []wire.Lane
	for n := range wire.Lanes {
		lanes = append(lanes, wire.NumberedLane(n))
	}
	seen := map[string]bool{}
	for _, w := range route.Fallbacks {
		seen[w] = true
		lanes = append(lanes, wire.HandoffLane(w))
	}
	for w := range route.Split {
		if !seen[w] {
			lanes = append(lanes, wire.HandoffLane(w))
		}
	}
	return append(lanes, wire.LaneParked, wire.LaneRetry)
}

func (b *Bus) ensureLane(ctx context.Context, route string, lane wire.Lane, ackWait time.Duration) error {
	cfg := jetstream.ConsumerConfig{
		Durable:        lane.Consumer(route),
		FilterSubject:  lane.Subject(route),
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        ackWait,
		MaxDeliver:     -1,
		MaxAckPending:  maxAckPending,
		PriorityPolicy: jetstream.PriorityPolicyPrioritized,
		PriorityGroups: []string{priorityGroup},
	}
	stream := lane.Stream(route)
	_, err := b.js.CreateConsumer(ctx, stream, cfg)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		// Only the ack wait may differ; the filter is the same by construction.
		_, err = b.js.UpdateConsumer(ctx, stream, cfg)
	}
	if err != nil {
		return fmt.Errorf("create consumer %s of %s: %w", cfg.Durable, stream, err)
	}
	return nil
}
