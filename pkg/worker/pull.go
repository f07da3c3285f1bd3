package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"understudy/pkg/bus"
)

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
	lane, err := w.bus.OpenLane(p.route, p.lane, p.priority)
	if err != nil {
		w.log.Error().Err(err).Msg("lane not opened")
		return
	}
	defer lane.Close()
	for ctx.Err() == nil {
		if !w.breaker.awaitReady(ctx) || !w.limit.AwaitRoom(ctx) || !w.awaitSlot(ctx) {
			return
		}
		waiting := 0
		w.fetch(ctx, lane, 1, w.cfg.Poll, func(d *bus.Delivery) {
			waiting = int(d.Waiting)
			w.takeWaiting(ctx, d)
		})
		busy.Add(1)
		for waiting > 0 && ctx.Err() == nil && w.breaker.ready() && w.limit.Room() > 0 {
			waiting = w.burst(ctx, lane, waiting, int(busy.Load()))
		}
		busy.Add(-1)
	}
}

// burst pulls what is waiting, at most a share of the free slots' worth and what
// the worker's limits have room for, and returns how many were left behind.
func (w *Worker) burst(ctx context.Context, lane *bus.Puller, waiting, busyLanes int) (left int) {
	if !w.slots.one(ctx) {
		return 0
	}
	reserved := 1 + w.slots.upTo(max(0, min(waiting-1, w.slots.available()/busyLanes, w.limit.Room()-1)))
	taken := w.fetch(ctx, lane, reserved, 0, func(d *bus.Delivery) {
		left = int(d.Waiting)
		w.takeReserved(d)
	})
	w.slots.release(reserved - taken)
	return left
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

func (w *Worker) fetch(ctx context.Context, lane *bus.Puller, n int, wait time.Duration, take func(*bus.Delivery)) int {
	taken, err := lane.Pull(ctx, n, wait, take)
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
	w.run(j)
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
	w.run(j)
}

// run handles a request in a goroutine that has just finished another, if there
// is one, since its stack has grown already; else in a new one.
func (w *Worker) run(j *job) {
	w.requests.Add(1)
	select {
	case w.next <- j:
	default:
		go w.serve(j)
	}
}

// serve handles one request after the other until the worker is over.
func (w *Worker) serve(j *job) {
	for {
		w.handle(j)
		w.hand.remove(j)
		w.slots.release(1)
		w.requests.Done()
		select {
		case j = <-w.next:
		case <-w.over:
			return
		}
	}
}
