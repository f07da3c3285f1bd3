package envelope

import (
	"strings"
	"time"

	"understudy/pkg/wire"
)

// Hedge returns the headers with which another worker is asked for an answer
// while this one keeps the request. It answers to the given subject. It may be
// called while the request's history grows.
func (e *Envelope) Hedge(inbox string) Header {
	h := Header{}
	for name, values := range e.header {
		if !strings.HasPrefix(name, "Nats-") && !strings.HasPrefix(name, "Llm-") {
			h[name] = values
		}
	}
	h.set(wire.HeaderRequestID, e.Request.ID)
	h.set(wire.HeaderAccepted, e.Accepted.UTC().Format(time.RFC3339Nano))
	h.set(wire.HeaderDeadline, e.Request.Deadline.UTC().Format(time.RFC3339Nano))
	h.set(wire.HeaderDegrade, string(e.Request.Degrade))
	h.set(wire.HeaderReplyTo, inbox)
	for name, patience := range map[string]time.Duration{wire.HeaderFirstTokenTimeout: e.FirstToken, wire.HeaderIdleTimeout: e.Idle} {
		if patience > 0 {
			h.set(name, patience.String())
		}
	}
	if e.Request.Tenant != "" {
		h.set(wire.HeaderTenant, e.Request.Tenant)
	}
	if e.Request.Stream {
		h.set(wire.HeaderStreamTo, inbox)
	}
	return h
}
