package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"understudy/pkg/bus"
)

// takeWhatIsThere is the wait of a pull that wants what a lane holds now.
const takeWhatIsThere = time.Millisecond

// pullLanes keeps one puller on each lane that the worker may pull, until ctx
// ends and every puller has returned.
func (w *Worker) pullLanes(ctx context.Context) {
	var pullers sync.WaitGroup
	running := map[pull]context.CancelFunc{}
	busy := new(atomic.Int32)
	for {
		mine, news := w.table.pulls()
		keep := map[pull]bool{}
		for _, p := range mine {
			keep[p] = true
			if running[p] != nil {
				continue
			}
			lane, stop := context.WithCancel(ctx)
			running[p] = stop
			pullers.Go(func() { w.pullLane(lane, p, busy) })
		}
		for p, stop := range running {
			if !keep[p] {
				stop()
				delete(running, p)
			}
		}
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			pullers.Wait()
			return
		case <-news:
		}
	}
}

// pullLane takes requests from one lane. A quiet lane costs one waiting pull
// for one request; a busy one is pulled for its share of the free slots, which
// is all of them when no other lane is busy. busy counts the busy lanes.
func (w *Worker) pullLane(ctx context.Context, p pull, busy *atomic.Int32) {
	for ctx.Err() == nil {
		if !w.breaker.awaitReady(ctx) || !w.awaitSlot(ctx) {
			return
		}
		if w.fetch(ctx, p, 1, w.cfg.Poll, func(d *bus.Delivery) { w.takeWaiting(ctx, d) }) == 0 {
			continue
		}
		busy.Add(1)
		for ctx.Err() == nil && w.burst(ctx, p, int(busy.Load())) {
		}
		busy.Add(-1)
	}
}

// burst pulls a share of the free slots' worth of what is there now. It says
// whether the lane may hold more.
func (w *Worker) burst(ctx context.Context, p pull, busyLanes int) bool {
	if !w.breaker.ready() || !w.slots.one(ctx) {
		return false
	}
	reserved := 1 + w.slots.upTo(w.slots.available()/busyLanes)
	taken := w.fetch(ctx, p, reserved, takeWhatIsThere, w.takeReserved)
	w.slots.release(reserved - taken)
	return taken == reserved
}

// awaitSlot waits until a slot is free, without keeping it.
func (w *Worker) awaitSlot(ctx context.Context) bool {
	if !w.slots.one(ctx) {
		return false
	}
	w.slots.release(1)
	return true
}

// awaitSlotFor waits until a slot is free and takes it; false when the request's
// context, or the pulling of its lane, ended first.
func (w *Worker) awaitSlotFor(lane context.Context, j *job) bool {
	stop := context.AfterFunc(lane, func() { j.cancel(errGiveBack) })
	defer stop()
	return w.slots.one(j.ctx)
}

func (w *Worker) fetch(ctx context.Context, p pull, n int, wait time.Duration, take func(*bus.Delivery)) int {
	taken, err := w.bus.Fetch(ctx, p.route, p.lane, n, p.priority, wait, take)
	if err != nil && ctx.Err() == nil {
		w.log.Warn().Err(err).Msg("pull failed")
		pause(ctx, 250*time.Millisecond)
	}
	return taken
}

// takeReserved handles a request that has its slot already.
func (w *Worker) takeReserved(d *bus.Delivery) {
	j := w.newJob(d)
	w.hand.add(j)
	w.requests.Go(func() {
		defer w.slots.release(1)
		defer w.hand.remove(j)
		w.handle(j)
	})
}

// takeWaiting handles a request that came while the slots were perhaps taken
// by others: it waits in hand. This is the one waiting request of its lane. It
// goes back when the lane is no longer pulled, since another may serve it now.
func (w *Worker) takeWaiting(lane context.Context, d *bus.Delivery) {
	j := w.newJob(d)
	w.hand.add(j)
	if w.slots.upTo(1) == 0 && !w.awaitSlotFor(lane, j) {
		// Cancelled, past its deadline or to be given back: that needs no slot.
		defer w.hand.remove(j)
		w.handle(j)
		return
	}
	w.requests.Go(func() {
		defer w.slots.release(1)
		defer w.hand.remove(j)
		w.handle(j)
	})
}
