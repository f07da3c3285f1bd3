package openai

import (
	"strings"
	"sync"

	"understudy/pkg/dispatch"
)

// feature is something that we ask of an endpoint and that not all of them know.
type feature string

const (
	streaming     feature = "stream"
	streamOptions feature = "stream_options"
	maxTokens     feature = "max_tokens"
)

// unsupported says which feature an endpoint has just refused; "" for another
// failure. It goes by the parameter that the refusal names.
func unsupported(e *dispatch.Error) feature {
	if e.Kind != dispatch.BadRequest {
		return ""
	}
	name, _, _ := strings.Cut(e.Param, ".")
	switch f := feature(name); f {
	case streaming, streamOptions, maxTokens:
		return f
	}
	return ""
}

// mostLearnt bounds the memory that callers can fill with models' names.
const mostLearnt = 1000

// lessons are the features that models have refused, for as long as the process
// lives. Safe for concurrent use.
type lessons struct {
	mu      sync.RWMutex
	refused map[lesson]bool
}

type lesson struct {
	model   string
	feature feature
}

func (l *lessons) learn(model string, f feature) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		l.refused = map[lesson]bool{}
	}
	if len(l.refused) < mostLearnt {
		l.refused[lesson{model, f}] = true
	}
}

func (l *lessons) refuses(model string, f feature) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.refused[lesson{model, f}]
}
