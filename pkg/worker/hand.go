package worker

import (
	"context"
	"sync"
	"time"
)

// hand holds the requests that the worker has taken and not settled.
type hand struct {
	mu   sync.Mutex
	jobs map[*job]struct{}
	byID map[string]*job
}

func newHand() *hand {
	return &hand{jobs: map[*job]struct{}{}, byID: map[string]*job{}}
}

func (h *hand) add(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jobs[j] = struct{}{}
	h.byID[j.req.ID] = j
}

func (h *hand) remove(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.jobs, j)
	if h.byID[j.req.ID] == j {
		delete(h.byID, j.req.ID)
	}
	j.cancel(context.Canceled)
}

func (h *hand) holds(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byID[id] != nil
}

func (h *hand) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.jobs)
}

// cancel ends a request in hand with the given cause, if it is in hand.
func (h *hand) cancel(id string, cause error) {
	h.mu.Lock()
	j := h.byID[id]
	h.mu.Unlock()
	if j != nil {
		j.cancel(cause)
	}
}

func (h *hand) cancelAll(cause error) {
	for _, j := range h.all() {
		j.cancel(cause)
	}
}

func (h *hand) all() []*job {
	h.mu.Lock()
	defer h.mu.Unlock()
	jobs := make([]*job, 0, len(h.jobs))
	for j := range h.jobs {
		jobs = append(jobs, j)
	}
	return jobs
}

// keepInHand tells the broker, well within the ack wait, that the requests in
// hand are being worked on.
func (w *Worker) keepInHand(ctx context.Context) {
	for pause(ctx, w.shortestAckWait()/3) {
		for _, j := range w.hand.all() {
			if err := j.delivery.InProgress(); err != nil {
				w.log.Debug().Err(err).Str("request", j.req.ID).Msg("in-progress not sent")
			}
		}
	}
}

func (w *Worker) shortestAckWait() time.Duration {
	w.table.mu.RLock()
	defer w.table.mu.RUnlock()
	shortest := defaultAckWait
	for _, r := range w.table.now.Routes {
		shortest = min(shortest, r.AckWait.Or(defaultAckWait))
	}
	return shortest
}
