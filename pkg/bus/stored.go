package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stored is a message as a stream keeps it.
type Stored struct {
	Subject  string
	Header   Header
	Body     []byte
	Sequence uint64
	Time     time.Time
}

// Stored reads one message of a stream without taking it;
// ErrNotFound when it is gone.
func (b *Bus) Stored(ctx context.Context, stream string, sequence uint64) (Stored, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return Stored{}, err
	}
	raw, err := s.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Stored{}, fmt.Errorf("read %s/%d: %w", stream, sequence, ErrNotFound)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("read %s/%d: %w", stream, sequence, err)
	}
	return stored(raw), nil
}

func stored(raw *jetstream.RawStreamMsg) Stored {
	return Stored{Subject: raw.Subject, Header: raw.Header, Body: raw.Data, Sequence: raw.Sequence, Time: raw.Time}
}

// ScanQueue calls see for each request that a stream holds, oldest first, from
// the given sequence on, without taking any, until see returns false.
func (b *Bus) ScanQueue(ctx context.Context, stream string, from uint64, see func(Stored) bool) error {
	return b.scan(ctx, stream, ">", from, func(m Stored) (bool, error) { return see(m), nil })
}

func (b *Bus) scan(ctx context.Context, stream, filter string, from uint64, see func(Stored) (bool, error)) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	for next := max(from, 1); ; {
		raw, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s from %d: %w", stream, next, err)
		}
		more, err := see(stored(raw))
		if err != nil || !more {
			return err
		}
		next = raw.Sequence + 1
	}
}

// RemoveStored deletes one message of a stream. One that is gone is no error.
func (b *Bus) RemoveStored(ctx context.Context, stream string, sequence uint64) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	err = s.DeleteMsg(ctx, sequence)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeNoMessage {
		return nil
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("delete %s/%d: %w", stream, sequence, err)
	}
	return nil
}

const codeNoMessage = 10057 // sequence not found

// StreamState is how full a stream is.
type StreamState struct {
	Messages uint64    `json:"messages"`
	Bytes    uint64    `json:"bytes"`
	Oldest   time.Time `json:"oldest,omitzero"`
	First    uint64    `json:"-"`
	Last     uint64    `json:"-"`
}

// StreamState reads a stream's fill.
func (b *Bus) StreamState(ctx context.Context, name string) (StreamState, error) {
	s, err := b.stream(ctx, name)
	if err != nil {
		return StreamState{}, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return StreamState{}, fmt.Errorf("read stream %s: %w", name, err)
	}
	state := StreamState{Messages: info.State.Msgs, Bytes: info.State.Bytes, First: info.State.FirstSeq, Last: info.State.LastSeq}
	if info.State.Msgs > 0 {
		state.Oldest = info.State.FirstTime
	}
	return state, nil
}

func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	s, ok := b.streams[name]
	b.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("open stream %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}
	b.mu.Lock()
	b.streams[name] = s
	b.mu.Unlock()
	return s, nil
}
