package worker

import (
	"strconv"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// rival is what is known of the other worker.
type rival struct {
	name, instance string
	asked          time.Time
	over           bool // nothing more is heard of it
	held           []bus.Message
	received       int // chunks, those that are held back included
	chunks         int // that went out
	heard          heard
	result         *wire.Result
}

// unfinished is the history of a hedge that gave no last word.
func (o rival) unfinished(winner runner) wire.Attempt {
	e := errRivalLost
	if winner == self {
		e = dispatch.Errorf(dispatch.Cancelled, "asked as a hedge, and not the quicker one")
	}
	return wire.Attempt{
		Worker: o.name, Instance: o.instance, StartedAt: o.asked.UTC(), DurationMS: time.Since(o.asked).Milliseconds(),
		Kind: e.Kind, Message: e.Error(),
	}
}

// hear takes what the other says.
func (r *race) hear(m bus.Message, signs chan<- struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rival.over {
		if m.WantsReply() {
			_ = m.Respond(nil, []byte(hedgeOver))
		}
		return
	}
	switch m.Subject[strings.LastIndexByte(m.Subject, '.'):] {
	case hedgePulsed:
		r.rival.instance = string(m.Body)
		_ = m.Respond(nil, nil) // without a broker the hedge ends
	case hedgeFrame, hedgeOutput:
		r.hearChunk(m)
	case hedgeEnd:
		result, err := wire.Decode[wire.Result](wire.SchemaResult, m.Body)
		if err != nil {
			r.worker.log.Error().Err(err).Str("request", r.job.req.ID).Msg("end of a hedge not read")
			return
		}
		if result.Status == dispatch.StatusAnswered {
			r.endForRival()
		}
		r.rival.result = &result
	}
	select {
	case signs <- struct{}{}:
	default:
	}
}

// hearChunk passes the other's chunks on once it is the one that speaks. The
// frame that comes before its output waits for that.
func (r *race) hearChunk(m bus.Message) {
	if strings.HasSuffix(m.Subject, hedgeOutput) && !r.first(other) || r.winner == self {
		return
	}
	r.rival.held = append(r.rival.held, m)
	if r.winner != other {
		return
	}
	for _, m := range r.rival.held {
		r.sayForRival(m)
	}
	r.rival.held = nil
}

// sayForRival passes on a chunk of the other's. After a gap nobody can go on
// with the answer, and its listener sees the gap.
func (r *race) sayForRival(m bus.Message) {
	o := &r.rival
	number, err := strconv.Atoi(m.Header.Get(wire.HeaderChunk))
	if gap := number - o.received; err != nil || gap != 0 {
		o.heard.apart = true
		o.received += gap
		o.chunks += gap
	}
	o.received++
	r.passOn(o.heard.take(dispatch.Chunk{Data: m.Body, Output: strings.HasSuffix(m.Subject, hedgeOutput)}))
}

// endForRival passes on the end of the other's answer, which turned out whole.
func (r *race) endForRival() {
	if r.first(other) {
		r.passOn(r.rival.heard.release())
	}
}

func (r *race) passOn(chunks []dispatch.Chunk) {
	for _, c := range chunks {
		r.worker.sendChunk(r.job, r.rival.name, r.rival.chunks, c)
		r.rival.chunks++
	}
}
