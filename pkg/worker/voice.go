package worker

import "understudy/pkg/dispatch"

// voice is where the output of a call goes.
type voice interface {
	// say takes a chunk as it comes.
	say(dispatch.Chunk)
	// end is called when the answer turned out to be whole and good.
	end()
}

// relay speaks to the request's own listener.
type relay struct {
	worker *Worker
	job    *job
}

// say passes a chunk on as it comes. The end of an answer waits for end.
func (r relay) say(c dispatch.Chunk) {
	if !r.job.req.Stream {
		return
	}
	for _, c := range r.job.heard.take(c) {
		r.worker.forward(r.job, c)
	}
}

func (r relay) end() {
	for _, c := range r.job.heard.release() {
		r.worker.forward(r.job, c)
	}
}

// forward sends a chunk to whoever listens.
func (w *Worker) forward(j *job, c dispatch.Chunk) {
	w.sendChunk(j, j.by, j.chunks, c)
	j.chunks++
	j.emitted = j.emitted || c.Output
}

func (w *Worker) sendChunk(j *job, by string, number int, c dispatch.Chunk) {
	if err := w.bus.Send(j.StreamTo, w.chunkHeader(j, by, number), c.Data); err != nil {
		w.log.Debug().Err(err).Str("request", j.req.ID).Msg("chunk not sent")
	}
}
