package worker

import (
	"cmp"
	"context"
	"sync"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// goOn asks the provider for the rest of an answer whose beginning was emitted
// before. A model that rejects the style it is set to is asked with a message,
// now and from now on.
func (w *Worker) goOn(ctx context.Context, j *job, vigil *vigil) (*dispatch.Answer, error) {
	model := cmp.Or(w.cfg.Settings.Model, chat.Text(j.req.Body, "model"))
	style := cmp.Or(chat.Style(w.cfg.Settings.Continuation), chat.Ask)
	if w.lessons.rejects(model) {
		style = chat.Ask
	}
	exactly := chat.AsksForJSON(j.req.Body)
	if exactly && !style.Exact() {
		return nil, dispatch.Errorf(dispatch.Unavailable, "model %s of worker %s cannot go on with JSON", model, w.cfg.Name)
	}
	answer, err := w.goOnBy(ctx, j, vigil, style)
	if !style.Exact() || j.emitted || dispatch.KindOf(err) != dispatch.BadRequest {
		return answer, err
	}
	w.lessons.learn(model)
	w.log.Warn().Err(err).Str("model", model).Str("style", string(style)).Msg("continuation rejected, asking with a message from now on")
	if exactly {
		return nil, err
	}
	return w.goOnBy(ctx, j, vigil, chat.Ask)
}

// goOnBy asks for the rest in one style, and returns the whole answer.
func (w *Worker) goOnBy(ctx context.Context, j *job, vigil *vigil, style chat.Style) (*dispatch.Answer, error) {
	said := j.Emitted.Text
	body, err := chat.Continue(j.req.Body, said, style, j.Emitted.Chunks)
	if err != nil {
		return nil, dispatch.Errorf(dispatch.Refused, "write the continuation: %v", err)
	}
	req := *j.req
	req.Body = body
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &rejoiner{job: j, seam: chat.NewSeam(said, style.Exact())}
	take := func(c dispatch.Chunk) {
		if chunk, ok := r.take(c); ok {
			j.voice.say(chunk)
		}
		if r.err != nil {
			stop(r.err)
		}
	}
	came := false
	answer, err := w.provider.Answer(ctx, &req, func(c dispatch.Chunk) {
		vigil.token(c.Output)
		came = true
		take(c)
	})
	if err == nil && !came { // in one piece
		var chunks []dispatch.Chunk
		chunks, err = chat.Chunks(answer.Body)
		for _, c := range chunks {
			take(c)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if err != nil {
		return nil, err
	}
	return wholeAnswer(answer, j, chat.NewSeam(said, style.Exact()))
}

// rejoiner makes the chunks of a continuation into chunks of the stream that it
// goes on with.
type rejoiner struct {
	job      *job
	seam     *chat.Seam
	finished bool
	err      error // why the continuation cannot be joined
}

// take returns the chunk to be sent, if there is one: frames were sent by the
// first speaker, repetitions by nobody.
func (r *rejoiner) take(c dispatch.Chunk) (dispatch.Chunk, bool) {
	if r.err != nil {
		return dispatch.Chunk{}, false
	}
	p := chat.ReadPiece(c.Data)
	fresh, err := r.seam.Add(p.Text)
	if err == nil && (p.Finish || !p.Plain) {
		var rest string
		rest, err = r.seam.End()
		fresh += rest
	}
	r.finished = r.finished || p.Finish
	counts := r.finished && chat.UsageOnly(c.Data)
	thinks := c.Output && p.Text == "" && r.job.Emitted.Text == "" // the first speaker got no further
	if err != nil || p.Plain && fresh == "" && !p.Finish && !counts && !thinks {
		r.err = err
		return dispatch.Chunk{}, false
	}
	var text *string
	if p.Text != "" || fresh != "" {
		text = &fresh
	}
	h := &r.job.heard
	data, err := chat.Rejoin(c.Data, h.origin, text, h.before)
	if err != nil {
		r.err = dispatch.AsError(err)
		return dispatch.Chunk{}, false
	}
	return dispatch.Chunk{Data: data, Output: fresh != "" || c.Output && p.Text == ""}, true
}

// wholeAnswer joins a continuation's answer to what was emitted before.
func wholeAnswer(rest *dispatch.Answer, j *job, seam *chat.Seam) (*dispatch.Answer, error) {
	var a chat.Assembler
	if _, err := a.Add(rest.Body); err != nil {
		return nil, err
	}
	fresh, err := seam.Add(a.Text())
	if err != nil {
		return nil, err
	}
	end, err := seam.End()
	if err != nil {
		return nil, err
	}
	used := j.heard.before
	body, err := chat.Whole(rest.Body, j.heard.origin, j.Emitted.Text+fresh+end, used)
	if err != nil {
		return nil, err
	}
	whole := *rest
	whole.Body = body
	whole.Usage.Input += used.Input
	whole.Usage.Output += used.Output
	return &whole, nil
}

// mostLearnt bounds the memory that callers can fill with models' names.
const mostLearnt = 1000

// lessons are the models that rejected a request ending in a broken answer, for
// as long as the process lives. Safe for concurrent use.
type lessons struct {
	mu       sync.Mutex
	rejected map[string]bool
}

func (l *lessons) learn(model string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rejected == nil {
		l.rejected = map[string]bool{}
	}
	if len(l.rejected) < mostLearnt {
		l.rejected[model] = true
	}
}

func (l *lessons) rejects(model string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rejected[model]
}
