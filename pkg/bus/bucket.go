package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"understudy/pkg/wire"
)

// Errors of the buckets.
var (
	// ErrNotFound means that there is no such key.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that somebody else wrote the key first.
	ErrConflict = errors.New("written by somebody else")

	errNoBucket = errors.New("no such bucket")
)

// Entry is a decoded value of a bucket. A deleted key has revision only.
type Entry[T any] struct {
	Key      string
	Value    T
	Revision uint64
	Deleted  bool
}

func (b *Bus) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	b.mu.Lock()
	kv, ok := b.buckets[name]
	b.mu.Unlock()
	if ok {
		return kv, nil
	}
	kv, err := b.js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("open bucket %s: %w", name, errNoBucket)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	b.mu.Lock()
	b.buckets[name] = kv
	b.mu.Unlock()
	return kv, nil
}

func kvError(verb, bucket, key string, err error) error {
	if err == nil {
		return nil
	}
	var kind error
	api, isAPI := errors.AsType[*jetstream.APIError](err)
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), isAPI && (api.ErrorCode == codeWrongLast || api.ErrorCode == codeWrongLastKV):
		kind = ErrConflict
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted):
		kind = ErrNotFound
	case errors.Is(err, nats.ErrMaxPayload):
		kind = ErrTooLarge
	default:
		return fmt.Errorf("%s %s/%s: %w", verb, bucket, key, err)
	}
	return fmt.Errorf("%s %s/%s: %w", verb, bucket, key, kind)
}

// put writes a key: with revision 0 only when it is absent, else only when it
// is still at that revision.
func (b *Bus) put(ctx context.Context, bucket, key string, revision uint64, value any) (uint64, error) {
	data, err := encode(value)
	if err != nil {
		return 0, fmt.Errorf("encode %s/%s: %w", bucket, key, err)
	}
	return b.putRaw(ctx, bucket, key, revision, data)
}

func (b *Bus) putRaw(ctx context.Context, bucket, key string, revision uint64, data []byte) (uint64, error) {
	kv, err := b.bucket(ctx, bucket)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		revision, err = kv.Create(ctx, key, data)
	} else {
		revision, err = kv.Update(ctx, key, data, revision)
	}
	return revision, kvError("write", bucket, key, err)
}

// set writes a key whatever is there.
func (b *Bus) set(ctx context.Context, bucket, key string, value any) error {
	kv, err := b.bucket(ctx, bucket)
	if err != nil {
		return err
	}
	data, err := encode(value)
	if err != nil {
		return fmt.Errorf("encode %s/%s: %w", bucket, key, err)
	}
	_, err = kv.Put(ctx, key, data)
	return kvError("write", bucket, key, err)
}

func get[T any](ctx context.Context, b *Bus, bucket, key string) (Entry[T], error) {
	kv, err := b.bucket(ctx, bucket)
	if err != nil {
		return Entry[T]{}, err
	}
	raw, err := kv.Get(ctx, key)
	if err != nil {
		return Entry[T]{}, kvError("read", bucket, key, err)
	}
	return decodeEntry[T](bucket, raw)
}

func decodeEntry[T any](bucket string, raw jetstream.KeyValueEntry) (Entry[T], error) {
	e := Entry[T]{Key: raw.Key(), Revision: raw.Revision()}
	if raw.Operation() != jetstream.KeyValuePut {
		e.Deleted = true
		return e, nil
	}
	if err := json.Unmarshal(raw.Value(), &e.Value); err != nil {
		return e, fmt.Errorf("decode %s/%s: %w", bucket, raw.Key(), err)
	}
	return e, nil
}

// all reads every key of a bucket.
func all[T any](ctx context.Context, b *Bus, bucket string) ([]Entry[T], error) {
	kv, err := b.bucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	watch, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", bucket, err)
	}
	defer func() { _ = watch.Stop() }()
	var entries []Entry[T]
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read bucket %s: %w", bucket, ctx.Err())
		case raw, open := <-watch.Updates():
			if !open {
				return nil, fmt.Errorf("read bucket %s: watch ended", bucket)
			}
			if raw == nil {
				return entries, nil
			}
			e, err := decodeEntry[T](bucket, raw)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
	}
}

// watch calls see for every key now, then for each change, until ctx ends. A
// watch may miss changes after a reconnect: read in full from time to time. A
// value that does not decode is reported and skipped.
func watch[T any](ctx context.Context, b *Bus, bucket string, see func(Entry[T])) error {
	kv, err := b.bucket(ctx, bucket)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", bucket, err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case raw, open := <-w.Updates():
			if !open {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("watch bucket %s: ended", bucket)
			}
			if raw == nil {
				continue
			}
			e, err := decodeEntry[T](bucket, raw)
			if err != nil {
				b.log.Error().Err(err).Msg("bucket value skipped")
				continue
			}
			see(e)
		}
	}
}

func remove(ctx context.Context, b *Bus, bucket, key string) error {
	kv, err := b.bucket(ctx, bucket)
	if err != nil {
		return err
	}
	return kvError("delete", bucket, key, kv.Purge(ctx, key))
}

// Routes reads the running configuration of every route, by name.
func (b *Bus) Routes(ctx context.Context) (map[string]wire.Route, error) {
	return named[wire.Route](ctx, b, wire.BucketRoutes)
}

// Workers reads the running configuration of every worker, by name.
func (b *Bus) Workers(ctx context.Context) (map[string]wire.Worker, error) {
	return named[wire.Worker](ctx, b, wire.BucketWorkers)
}

func named[T any](ctx context.Context, b *Bus, bucket string) (map[string]T, error) {
	entries, err := all[T](ctx, b, bucket)
	if err != nil {
		return nil, err
	}
	m := make(map[string]T, len(entries))
	for _, e := range entries {
		m[e.Key] = e.Value
	}
	return m, nil
}

// SetRoute writes a route's running configuration. Its queue must exist.
func (b *Bus) SetRoute(ctx context.Context, name string, r wire.Route) error {
	return b.set(ctx, wire.BucketRoutes, name, r)
}

// SetWorker writes a worker's running configuration.
func (b *Bus) SetWorker(ctx context.Context, name string, w wire.Worker) error {
	return b.set(ctx, wire.BucketWorkers, name, w)
}

// RemoveRoute takes a route out of the running configuration. Its queue stays.
func (b *Bus) RemoveRoute(ctx context.Context, name string) error {
	return remove(ctx, b, wire.BucketRoutes, name)
}

// RemoveWorker takes a worker out of the running configuration.
func (b *Bus) RemoveWorker(ctx context.Context, name string) error {
	return remove(ctx, b, wire.BucketWorkers, name)
}

// WatchRoutes calls see for every route now and on change, until ctx ends.
func (b *Bus) WatchRoutes(ctx context.Context, see func(Entry[wire.Route])) error {
	return watch(ctx, b, wire.BucketRoutes, see)
}

// WatchWorkers calls see for every worker now and on change, until ctx ends.
func (b *Bus) WatchWorkers(ctx context.Context, see func(Entry[wire.Worker])) error {
	return watch(ctx, b, wire.BucketWorkers, see)
}

// ConfigSource says where the running configuration came from; empty when none
// was applied.
func (b *Bus) ConfigSource(ctx context.Context) (string, error) {
	e, err := get[string](ctx, b, wire.BucketSettings, "source")
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return e.Value, err
}

// SetConfigSource notes where the running configuration came from.
func (b *Bus) SetConfigSource(ctx context.Context, source string) error {
	return b.set(ctx, wire.BucketSettings, "source", source)
}
