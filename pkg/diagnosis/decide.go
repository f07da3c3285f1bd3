package diagnosis

import (
	"strings"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/statuspage"
	"understudy/pkg/wire"
)

const (
	// throttledFor is how long after a 429 a worker still counts as throttled,
	// so that a row of short pauses is one finding.
	throttledFor = 30 * time.Second
	// refusedOften is how many refusals without one answer mean that it is not
	// the callers' requests that are wrong.
	refusedOften = 5
)

// finding is what one rule concludes, and the sentence that it rests on.
type finding struct {
	cause      wire.Cause
	confidence wire.Confidence
	because    string
	advice     string // instead of the cause's own
}

// rules are asked in this order; the first that concludes anything decides.
var rules = []func(*Evidence) (finding, bool){
	notRunning, accountRefused, throttledByProvider, refusesOurRequests, nothingWrong, notReached, answersLate, down,
}

// Decide says what is wrong with a worker. Since is left to who remembers.
func Decide(e Evidence) wire.Diagnosis {
	for _, rule := range rules {
		f, concluded := rule(&e)
		if !concluded {
			continue
		}
		d := wire.Diagnosis{Worker: e.Worker, Cause: f.cause, Confidence: f.confidence, Evidence: []string{f.because}, Advice: f.advice, At: e.At}
		if f.cause != wire.CauseHealthy {
			d.Evidence = append(d.Evidence, e.facts()...)
		}
		if d.Advice == "" {
			d.Advice = advice[f.cause]
		}
		return d
	}
	return wire.Diagnosis{Worker: e.Worker, Cause: wire.CauseHealthy, Confidence: wire.ConfidencePossible, Evidence: []string{}, At: e.At}
}

func notRunning(e *Evidence) (finding, bool) {
	return finding{
		cause: wire.CauseOurs, confidence: wire.ConfidenceCertain, because: "no instance of it is running",
		advice: "start it, or take it out of the configuration; an event of kind worker says why it was not started, if that was tried",
	}, e.Running == 0
}

func accountRefused(e *Evidence) (finding, bool) {
	if e.State == wire.HealthStateReady {
		return finding{}, false
	}
	said := e.latest()
	f := finding{cause: wire.CauseAccount, confidence: wire.ConfidenceCertain}
	if said.Kind != dispatch.Account {
		if e.LastFailure == nil || e.LastFailure.Kind != dispatch.Account {
			return finding{}, false
		}
		said, f.confidence = *e.LastFailure, wire.ConfidenceLikely // a probe has met something else since
	}
	f.because = "the provider refuses our account: " + words(said)
	if trouble(e.Page) {
		f.confidence = wire.ConfidenceLikely
		f.because += "; it has an incident, so the refusal may be its own fault"
	}
	if e.Ready > 0 {
		f.because += "; other instances are served, so look for a difference in their keys"
	}
	return f, !e.LastAnswered.After(said.At)
}

func throttledByProvider(e *Evidence) (finding, bool) {
	said := e.latest()
	lately := e.State != wire.HealthStateReady || e.At.Sub(said.At) < throttledFor
	return finding{cause: wire.CauseThrottled, confidence: wire.ConfidenceCertain, because: "the provider limits our rate: " + words(said)}, said.Kind == dispatch.Throttled && lately
}

func refusesOurRequests(e *Evidence) (finding, bool) {
	f := finding{cause: wire.CauseOurs, confidence: wire.ConfidenceCertain}
	if p := e.Probe; p != nil && p.Kind == dispatch.BadRequest && e.State != wire.HealthStateReady && *p == e.latest() {
		f.because = "the provider refuses even our probe: " + words(*p)
		return f, true
	}
	last := e.LastFailure
	if last != nil && last.Kind == dispatch.BadRequest && last.Status == 404 && e.Answered == 0 && e.Failures[dispatch.BadRequest] >= refusedOften {
		f.confidence, f.because = wire.ConfidenceLikely, "the provider knows none of what we ask for: "+words(*last)
		return f, true
	}
	return f, false
}

func nothingWrong(e *Evidence) (finding, bool) {
	return finding{cause: wire.CauseHealthy, confidence: wire.ConfidenceCertain, because: "it takes requests"}, e.State == wire.HealthStateReady
}

// notReached tells an outage from a cut in our own network, by who else is
// reached.
func notReached(e *Evidence) (finding, bool) {
	last := e.latest()
	if last.Unreached == "" {
		return finding{}, false
	}
	reached, cut := e.others(Reached), e.others(Cut)
	f := finding{cause: wire.CauseOutage, confidence: wire.ConfidenceLikely}
	switch misnamed := last.Unreached == wire.UnreachedUnknownHost || last.Unreached == wire.UnreachedTLS; {
	case e.Ready > 0:
		f.cause, f.because = wire.CauseNetwork, "another instance of it reaches the provider, so the network of this one is at fault"
	case !e.Remote:
		f.because, f.advice = "the model server inside our own network is not reached: "+unreachedWords[last.Unreached], "start the model server that base_url names, and check that this host reaches it"
	case len(reached) > 0 && misnamed:
		f.cause, f.because, f.advice = wire.CauseOurs, unreachedWords[last.Unreached]+", while other providers are reached", "check base_url and, behind a proxy, the certificates this host trusts"
	case len(reached) > 0:
		f.confidence = agreed(e.Page, wire.ConfidenceLikely)
		f.because = "no connection to it stands, while " + strings.Join(reached, ", ") + " is reached from the same network"
	case len(cut) > 0:
		f.cause, f.confidence = wire.CauseNetwork, networkConfidence(e.Page)
		f.because = "no connection stands to any remote provider: neither to this one nor to " + strings.Join(cut, ", ")
	case e.Page.Verdict == statuspage.Unreachable:
		f.cause, f.confidence = wire.CauseNetwork, wire.ConfidencePossible
		f.because = "neither the provider nor its status page is reached"
	default:
		f.confidence = agreed(e.Page, wire.ConfidencePossible)
		f.because = "no connection to it stands: " + unreachedWords[last.Unreached]
	}
	return f, true
}

// networkConfidence weighs the status page when no provider is reached: a page
// that is reached speaks against a cut.
func networkConfidence(p statuspage.Report) wire.Confidence {
	switch p.Verdict {
	case statuspage.Unreachable:
		return wire.ConfidenceCertain
	case statuspage.None:
		return wire.ConfidenceLikely
	}
	return wire.ConfidencePossible
}

// answersLate tells slowness from an outage that shows as silence.
func answersLate(e *Evidence) (finding, bool) {
	quiet := e.Failures[dispatch.Silent] + e.Failures[dispatch.Stalled]
	hard := e.Failures[dispatch.Transient] + e.Failures[dispatch.Truncated] + e.Failures[dispatch.Malformed]
	late := e.Slow > 0 && 2*e.Slow >= e.Answered
	if hard > quiet+e.Slow || quiet == 0 && !late {
		return finding{}, false
	}
	probeSilent := e.Probe != nil && (e.Probe.Kind == dispatch.Silent || e.Probe.Kind == dispatch.Deadline)
	switch {
	case e.Page.Verdict == statuspage.Outage:
		return finding{cause: wire.CauseOutage, confidence: wire.ConfidenceCertain, because: "the provider takes calls and does not answer, and reports an incident"}, true
	case e.Answered == 0 && probeSilent:
		return finding{cause: wire.CauseOutage, confidence: wire.ConfidenceLikely, because: "the provider takes calls and answers none, not even a probe"}, true
	case e.Answered == 0:
		return finding{cause: wire.CauseOutage, confidence: wire.ConfidencePossible, because: "the provider takes calls and has answered none lately"}, true
	}
	return finding{cause: wire.CauseSlow, confidence: agreed(e.Page, wire.ConfidenceLikely), because: "the provider answers, but late or not always"}, true
}

func down(e *Evidence) (finding, bool) {
	f := finding{cause: wire.CauseOutage, confidence: agreed(e.Page, wire.ConfidenceLikely), because: "calls fail on the provider's side"}
	if last := e.latest(); last.Kind != "" {
		f.because += ": " + words(last)
	} else {
		f.confidence = agreed(e.Page, wire.ConfidencePossible)
	}
	return f, true
}

// agreed is certain when the status page says the same, else what was without.
func agreed(p statuspage.Report, without wire.Confidence) wire.Confidence {
	if trouble(p) {
		return wire.ConfidenceCertain
	}
	return without
}

func trouble(p statuspage.Report) bool {
	return p.Verdict == statuspage.Outage || p.Verdict == statuspage.Degraded
}

// others lists the other remote workers by reach.
func (e *Evidence) others(r Reach) []string {
	var names []string
	for _, o := range e.Others {
		if o.Remote && o.Reach == r {
			names = append(names, o.Worker)
		}
	}
	return names
}
