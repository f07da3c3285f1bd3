package worker

import (
	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

// review holds a model's answer against the route's quality checks. An answer
// that does not pass is a failure of the attempt, unless a listener has heard it
// already: then what was found is noted in the result. The rejected answer is
// kept, for the case that nobody gives a better one; one that is not the JSON
// that the caller will parse is of no use and is not.
func (w *Worker) review(j *job, answer *dispatch.Answer) error {
	if w.cfg.Local {
		return nil
	}
	found := w.quality.Check(j.route.Quality, j.req.Body, answer.Body)
	if found.Check == "" {
		return nil
	}
	if j.emitted || j.Emitted != nil {
		j.quality = found.Check
		return nil
	}
	if found.Check != wire.QualityCheckJSON {
		j.Rejected = &envelope.Rejected{
			Check: found.Check, Worker: w.cfg.Name, Model: answer.Model, Answer: answer.Body,
			Usage: wire.Usage{InputTokens: answer.Usage.Input, OutputTokens: answer.Usage.Output},
		}
	}
	return found.Error()
}

// weight is what a failure means to the breaker on a route.
func weight(route wire.Route, kind dispatch.Kind) dispatch.Weight {
	if kind == dispatch.Quality && route.Quality.Counts {
		return dispatch.Counted
	}
	return kind.Rule().Breaker
}

// lastWord ends a request that nobody answered well: with the answer that was
// rejected on the way, if there is one, else with the failure.
func (w *Worker) lastWord(j *job, e *dispatch.Error) outcome {
	second, next := j.Rejected, e.Kind.Rule().Next
	if second == nil || j.emitted || j.Emitted != nil || next == dispatch.Expire || next == dispatch.Cancel {
		return failure(w.decisive(j, e))
	}
	j.by, j.quality, j.chunks = second.Worker, second.Check, 0
	return outcome{verb: answered, answer: &dispatch.Answer{
		Body: second.Answer, Model: second.Model, Usage: dispatch.Usage{Input: second.Usage.InputTokens, Output: second.Usage.OutputTokens},
	}}
}
