package bus

import (
	"context"
	"errors"
	"fmt"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// Recorded is a result as it stands in its bucket.
type Recorded struct {
	wire.Result
	encoded []byte
}

// Record writes a request's terminal state: the first one wins. It returns the
// result that stands, and whether it is this one. The result of a replay takes
// the place of a failure with a lower replay number, and of nothing else.
func (b *Bus) Record(ctx context.Context, d wire.Durability, r wire.Result) (stands Recorded, won bool, err error) {
	bucket := wire.ResultsBucket(d)
	stands = Recorded{Result: r}
	if stands.encoded, err = encode(r); err != nil {
		return stands, false, fmt.Errorf("encode result %s: %w", r.ID, err)
	}
	_, err = b.putRaw(ctx, bucket, r.ID, 0, stands.encoded)
	for errors.Is(err, ErrConflict) {
		var existing Entry[wire.Result]
		existing, err = get[wire.Result](ctx, b, bucket, r.ID)
		if errors.Is(err, ErrNotFound) { // it aged out in between
			_, err = b.putRaw(ctx, bucket, r.ID, 0, stands.encoded)
			continue
		}
		if err != nil {
			return stands, false, err
		}
		if Final(existing.Value, r.Replay) {
			return Recorded{Result: existing.Value}, false, nil
		}
		_, err = b.putRaw(ctx, bucket, r.ID, existing.Revision, stands.encoded)
	}
	return stands, err == nil, err
}

// Final says whether a recorded result also ends the request's given replay.
func Final(r wire.Result, replay int64) bool {
	return r.Status != dispatch.StatusFailed || r.Replay >= replay
}

// Result reads a recorded result; ErrNotFound while the request has none.
func (b *Bus) Result(ctx context.Context, d wire.Durability, id string) (wire.Result, error) {
	e, err := get[wire.Result](ctx, b, wire.ResultsBucket(d), id)
	return e.Value, err
}

// FindResult looks for a result in the buckets of every durability class in use.
func (b *Bus) FindResult(ctx context.Context, id string) (wire.Result, error) {
	for _, d := range []wire.Durability{wire.DurabilityStrict, wire.DurabilityFast, wire.DurabilityMemory} {
		r, err := b.Result(ctx, d, id)
		if errors.Is(err, ErrNotFound) || errors.Is(err, errNoBucket) {
			continue
		}
		return r, err
	}
	return wire.Result{}, ErrNotFound
}

// Acceptance notes where a request went that somebody will ask for by id.
type Acceptance struct {
	Route    string `json:"route"`
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
}

// NoteAcceptance remembers where a request went.
func (b *Bus) NoteAcceptance(ctx context.Context, id string, a Acceptance) error {
	return b.set(ctx, wire.BucketAccepted, id, a)
}

// Acceptance returns where a request went; ErrNotFound when nobody noted it.
func (b *Bus) Acceptance(ctx context.Context, id string) (Acceptance, error) {
	e, err := get[Acceptance](ctx, b, wire.BucketAccepted, id)
	return e.Value, err
}

// Suspect is a request that was delivered again although nobody settled it:
// perhaps it crashes whoever handles it.
type Suspect struct {
	Starts []wire.Attempt `json:"starts"`
}

// Suspect reads the starts of a suspect; none when there were none.
func (b *Bus) Suspect(ctx context.Context, id string) (Suspect, error) {
	e, err := get[Suspect](ctx, b, wire.BucketSuspects, id)
	if errors.Is(err, ErrNotFound) {
		return Suspect{}, nil
	}
	return e.Value, err
}

// NoteSuspect records that a suspect is about to be handled.
func (b *Bus) NoteSuspect(ctx context.Context, id string, s Suspect) error {
	return b.set(ctx, wire.BucketSuspects, id, s)
}

// ClearSuspect forgets a suspect that was settled.
func (b *Bus) ClearSuspect(ctx context.Context, id string) error {
	return remove(ctx, b, wire.BucketSuspects, id)
}

// AwaitResult waits for a request's result. It watches the bucket, so it costs
// a consumer at the broker: it is meant for tools and tests.
func (b *Bus) AwaitResult(ctx context.Context, d wire.Durability, id string) (wire.Result, error) {
	kv, err := b.bucket(ctx, wire.ResultsBucket(d))
	if err != nil {
		return wire.Result{}, err
	}
	w, err := kv.Watch(ctx, id)
	if err != nil {
		return wire.Result{}, fmt.Errorf("watch result %s: %w", id, err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return wire.Result{}, fmt.Errorf("wait for result %s: %w", id, ctx.Err())
		case raw, open := <-w.Updates():
			if !open {
				return wire.Result{}, fmt.Errorf("watch result %s: ended", id)
			}
			if raw == nil {
				continue
			}
			e, err := decodeEntry[wire.Result](wire.ResultsBucket(d), raw)
			if err != nil || !e.Deleted {
				return e.Value, err
			}
		}
	}
}

// Tell sends a recorded result to whoever waits for it: as the reply, and as
// the end of the tokens; once when both go to the same subject. An empty
// subject means that nobody waits there.
func (b *Bus) Tell(r Recorded, replyTo, streamTo string) error {
	if replyTo == "" && streamTo == "" {
		return nil
	}
	data := r.encoded
	if data == nil {
		var err error
		if data, err = encode(r.Result); err != nil {
			return fmt.Errorf("encode result %s: %w", r.ID, err)
		}
	}
	header := Header{wire.HeaderStatus: {string(r.Status)}, wire.HeaderRequestID: {r.ID}}
	var err error
	if replyTo != "" {
		err = b.Send(replyTo, header, data)
	}
	if streamTo != "" && streamTo != replyTo {
		err = errors.Join(err, b.Send(streamTo, header, data))
	}
	return err
}
