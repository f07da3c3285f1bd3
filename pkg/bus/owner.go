package bus

import (
	"context"
	"time"

	"understudy/pkg/wire"
)

// Owners reads the whole table of owners.
func (b *Bus) Owners(ctx context.Context) ([]Entry[wire.Ownership], error) {
	return all[wire.Ownership](ctx, b, wire.BucketOwners)
}

// WatchOwners calls see for every lane now and on change, until ctx ends.
func (b *Bus) WatchOwners(ctx context.Context, see func(Entry[wire.Ownership])) error {
	return watch(ctx, b, wire.BucketOwners, see)
}

// SetOwner writes a lane's owner, only if the table still has the revision (0:
// no owner yet). It returns ErrConflict when somebody else wrote first.
func (b *Bus) SetOwner(ctx context.Context, route string, lane wire.Lane, o wire.Ownership, revision uint64) (uint64, error) {
	return b.put(ctx, wire.BucketOwners, lane.OwnerKey(route), revision, o)
}

// RemoveOwner takes a lane out of the table.
func (b *Bus) RemoveOwner(ctx context.Context, route string, lane wire.Lane) error {
	return remove(ctx, b, wire.BucketOwners, lane.OwnerKey(route))
}

// leaseTTL is how long a lease lasts without renewal.
const leaseTTL = 3 * time.Second

const leaseKey = "leader"

// Lease is the right to lead, for as long as it is renewed.
type Lease struct {
	// Holder names who leads.
	Holder string `json:"holder"`
	// Epoch grows with each new leader: the revision of the first write.
	Epoch uint64 `json:"epoch"`

	revision uint64
	until    time.Time
}

// Until is when the lease runs out unless renewed.
func (l Lease) Until() time.Time { return l.until }

// TakeLease takes the supervisor's lease, or returns ErrConflict while
// somebody else holds it.
func (b *Bus) TakeLease(ctx context.Context, holder string) (Lease, error) {
	started := time.Now()
	revision, err := b.put(ctx, wire.BucketSupervisor, leaseKey, 0, Lease{Holder: holder})
	if err != nil {
		return Lease{}, err
	}
	return Lease{Holder: holder, Epoch: revision, revision: revision, until: started.Add(leaseTTL)}, nil
}

// Renew prolongs the lease. ErrConflict means that it was lost.
func (b *Bus) Renew(ctx context.Context, l Lease) (Lease, error) {
	started := time.Now()
	revision, err := b.put(ctx, wire.BucketSupervisor, leaseKey, l.revision, l)
	if err != nil {
		return l, err
	}
	l.revision, l.until = revision, started.Add(leaseTTL)
	return l, nil
}

// Release gives the lease up, so that another supervisor may lead at once.
func (b *Bus) Release(ctx context.Context) error {
	return remove(ctx, b, wire.BucketSupervisor, leaseKey)
}

// Leader reads who leads; ErrNotFound while nobody does.
func (b *Bus) Leader(ctx context.Context) (Lease, error) {
	e, err := get[Lease](ctx, b, wire.BucketSupervisor, leaseKey)
	return e.Value, err
}
