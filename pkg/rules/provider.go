package rules

import (
	"context"
	"time"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// model is what an answer by rules names as its model.
const model = "rules"

// Provider lets a worker answer from rules. It is safe for concurrent use.
type Provider struct {
	// Now tells the time that answers carry; time.Now unless it is replaced
	// before the first answer.
	Now func() time.Time

	engine *Engine
}

// NewProvider returns a provider that answers from engine.
func NewProvider(engine *Engine) *Provider {
	return &Provider{Now: time.Now, engine: engine}
}

// Answer decides the last user message of the request and returns the prepared
// text as a chat.completion, in one piece. It fails as Refused when no rule fits
// and as BadRequest when the messages cannot be understood.
func (p *Provider) Answer(ctx context.Context, req *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, dispatch.AsError(err)
	}
	question, err := chat.Question(req.Body)
	if err != nil {
		return nil, err
	}
	decision, fits := p.engine.Decide(Question{
		Text:     question,
		Metadata: map[string]string{"route": req.Route, "tenant": req.Tenant},
	})
	if !fits {
		return nil, dispatch.Errorf(dispatch.Refused, "no rule fits the question")
	}
	return &dispatch.Answer{
		Body:    chat.Completion("chatcmpl-"+req.ID, model, decision.Text, p.Now()),
		Model:   model,
		Sources: []string{decision.RuleID},
	}, nil
}

// Probe always succeeds: an engine that is loaded can answer.
func (p *Provider) Probe(context.Context) error { return nil }
