package diagnosis

import (
	"slices"
	"strings"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/statuspage"
	"understudy/pkg/wire"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// call is how a call ended, some seconds ago.
func call(kind dispatch.Kind, status int64, code string, seconds int) *wire.Call {
	return &wire.Call{Kind: kind, Status: status, Code: code, Message: string(kind), At: ago(time.Duration(seconds) * time.Second)}
}

func lost(why wire.Unreached, seconds int) *wire.Call {
	return &wire.Call{Kind: dispatch.Transient, Unreached: why, Message: "transient: no answer", At: ago(time.Duration(seconds) * time.Second)}
}

// open is a remote worker whose breaker is open, all instances of it.
func open(change func(*Evidence)) Evidence {
	e := Evidence{Worker: "claude", Remote: true, Running: 1, State: wire.HealthStateOpen, Failures: map[dispatch.Kind]int64{}, At: now}
	change(&e)
	return e
}

func failing(e *Evidence, kind dispatch.Kind, n int64, last *wire.Call) {
	e.Failures[kind] += n
	e.LastFailure = last
}

func page(v statuspage.Verdict, incidents ...string) statuspage.Report {
	return statuspage.Report{Verdict: v, Incidents: incidents, Problem: "timeout", At: now}
}

func remoteOther(worker string, r Reach) Other { return Other{Worker: worker, Remote: true, Reach: r} }

func TestCauseFollowsFromTheEvidence(t *testing.T) {
	for _, c := range []struct {
		situation  string
		evidence   Evidence
		cause      wire.Cause
		confidence wire.Confidence
		says       string // among the evidence
	}{
		{
			"all is well",
			Evidence{Worker: "claude", Remote: true, Running: 1, Ready: 1, State: wire.HealthStateReady, Answered: 7, At: now},
			wire.CauseHealthy, wire.ConfidenceCertain, "takes requests",
		},
		{
			"it takes requests although some failed",
			Evidence{Worker: "claude", Running: 1, Ready: 1, State: wire.HealthStateReady, Answered: 7, Failures: map[dispatch.Kind]int64{dispatch.Transient: 3}, LastFailure: call(dispatch.Transient, 503, "", 2), At: now},
			wire.CauseHealthy, wire.ConfidenceCertain, "takes requests",
		},
		{"no instance runs", Evidence{Worker: "claude", At: now}, wire.CauseOurs, wire.ConfidenceCertain, "no instance of it is running"},
		{
			"the key is refused",
			open(func(e *Evidence) { failing(e, dispatch.Account, 1, call(dispatch.Account, 401, "invalid_api_key", 1)) }),
			wire.CauseAccount, wire.ConfidenceCertain, "account, status 401, code invalid_api_key",
		},
		{
			"the quota is used up after many answers",
			open(func(e *Evidence) {
				failing(e, dispatch.Account, 1, call(dispatch.Account, 429, "insufficient_quota", 1))
				e.Answered, e.LastAnswered = 500, ago(2*time.Second)
			}),
			wire.CauseAccount, wire.ConfidenceCertain, "insufficient_quota",
		},
		{
			"503s first, then the probe finds the key refused",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, call(dispatch.Transient, 503, "", 20))
				e.Probe = call(dispatch.Account, 403, "", 1)
			}),
			wire.CauseAccount, wire.ConfidenceCertain, "status 403",
		},
		{
			"the key is refused while the provider has an incident",
			open(func(e *Evidence) {
				failing(e, dispatch.Account, 1, call(dispatch.Account, 401, "", 1))
				e.Page = page(statuspage.Outage, "Login errors")
			}),
			wire.CauseAccount, wire.ConfidenceLikely, "the refusal may be its own fault",
		},
		{
			"the key was refused, then the probe meets a 503",
			open(func(e *Evidence) {
				failing(e, dispatch.Account, 1, call(dispatch.Account, 401, "", 60))
				e.Probe = call(dispatch.Transient, 503, "", 1)
			}),
			wire.CauseAccount, wire.ConfidenceLikely, "refuses our account",
		},
		{
			"one instance of three has a bad key",
			open(func(e *Evidence) {
				e.Running, e.Ready = 3, 2
				failing(e, dispatch.Account, 1, call(dispatch.Account, 401, "", 1))
			}),
			wire.CauseAccount, wire.ConfidenceCertain, "a difference in their keys",
		},
		{
			"throttled, and pausing",
			open(func(e *Evidence) {
				e.State = wire.HealthStatePaused
				failing(e, dispatch.Throttled, 4, call(dispatch.Throttled, 429, "rate_limit_exceeded", 1))
			}),
			wire.CauseThrottled, wire.ConfidenceCertain, "limits our rate",
		},
		{
			"between two pauses of throttling",
			Evidence{Worker: "claude", Running: 1, Ready: 1, State: wire.HealthStateReady, LastFailure: call(dispatch.Throttled, 429, "", 5), At: now},
			wire.CauseThrottled, wire.ConfidenceCertain, "limits our rate",
		},
		{
			"throttling that is over",
			Evidence{Worker: "claude", Running: 1, Ready: 1, State: wire.HealthStateReady, LastFailure: call(dispatch.Throttled, 429, "", 45), At: now},
			wire.CauseHealthy, wire.ConfidenceCertain, "takes requests",
		},
		{
			"the model of the probe does not exist",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, call(dispatch.Transient, 500, "", 20))
				e.Probe = call(dispatch.BadRequest, 404, "model_not_found", 1)
			}),
			wire.CauseOurs, wire.ConfidenceCertain, "refuses even our probe: bad_request, status 404, code model_not_found",
		},
		{
			"every request meets a 404",
			Evidence{Worker: "claude", Running: 1, Ready: 1, State: wire.HealthStateReady, Failures: map[dispatch.Kind]int64{dispatch.BadRequest: 6}, LastFailure: call(dispatch.BadRequest, 404, "model_not_found", 1), At: now},
			wire.CauseOurs, wire.ConfidenceLikely, "knows none of what we ask for",
		},
		{
			"one caller's bad request",
			Evidence{Worker: "claude", Running: 1, Ready: 1, State: wire.HealthStateReady, Answered: 9, Failures: map[dispatch.Kind]int64{dispatch.BadRequest: 6}, LastFailure: call(dispatch.BadRequest, 404, "", 1), At: now},
			wire.CauseHealthy, wire.ConfidenceCertain, "takes requests",
		},
		{
			"503s, and the status page names an incident",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, call(dispatch.Transient, 503, "", 1))
				e.Page = page(statuspage.Outage, "Elevated errors")
			}),
			wire.CauseOutage, wire.ConfidenceCertain, "the status page reports an outage: Elevated errors",
		},
		{
			"503s, and the status page knows nothing yet",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, call(dispatch.Transient, 503, "", 1))
				e.Page = page(statuspage.Operational)
			}),
			wire.CauseOutage, wire.ConfidenceLikely, "says that all is well",
		},
		{
			"503s, while another provider answers",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, call(dispatch.Transient, 503, "", 1))
				e.Others = []Other{remoteOther("openai", Reached)}
			}),
			wire.CauseOutage, wire.ConfidenceLikely, "reached from the same network: openai",
		},
		{
			"no connection, while another provider answers",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedTimeout, 1))
				e.Others = []Other{remoteOther("gemini", Unknown), remoteOther("openai", Reached)}
			}),
			wire.CauseOutage, wire.ConfidenceLikely, "while openai is reached",
		},
		{
			"no connection to any remote provider",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedRefused, 1))
				e.Others = []Other{remoteOther("openai", Cut), {Worker: "ollama", Reach: Reached}}
			}),
			wire.CauseNetwork, wire.ConfidenceLikely, "neither to this one nor to openai",
		},
		{
			"no connection to any provider nor to the status page",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedUnknownHost, 1))
				e.Others, e.Page = []Other{remoteOther("openai", Cut)}, page(statuspage.Unreachable)
			}),
			wire.CauseNetwork, wire.ConfidenceCertain, "the status page cannot be read",
		},
		{
			"no connection to any provider, but to the status page",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedTimeout, 1))
				e.Others, e.Page = []Other{remoteOther("openai", Cut)}, page(statuspage.Operational)
			}),
			wire.CauseNetwork, wire.ConfidencePossible, "no connection stands to any",
		},
		{
			"the only provider is not reached, nor its status page",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedTimeout, 1))
				e.Page = page(statuspage.Unreachable)
			}),
			wire.CauseNetwork, wire.ConfidencePossible, "neither the provider nor its status page",
		},
		{
			"the only provider is not reached, and nothing else is known",
			open(func(e *Evidence) { failing(e, dispatch.Transient, 5, lost(wire.UnreachedRefused, 1)) }),
			wire.CauseOutage, wire.ConfidencePossible, "nobody listens",
		},
		{
			"one of two instances is not let out",
			open(func(e *Evidence) {
				e.Running, e.Ready = 2, 1
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedTimeout, 1))
			}),
			wire.CauseNetwork, wire.ConfidenceLikely, "the network of this one is at fault",
		},
		{
			"a misspelt host, while another provider answers",
			open(func(e *Evidence) {
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedUnknownHost, 1))
				e.Others = []Other{remoteOther("openai", Reached)}
			}),
			wire.CauseOurs, wire.ConfidenceLikely, "the name of its host is not known",
		},
		{
			"the model server next door does not run",
			open(func(e *Evidence) {
				e.Remote = false
				failing(e, dispatch.Transient, 5, lost(wire.UnreachedRefused, 1))
				e.Others = []Other{remoteOther("openai", Cut)}
			}),
			wire.CauseOutage, wire.ConfidenceLikely, "inside our own network",
		},
		{
			"silence, and a probe that gets no answer either",
			open(func(e *Evidence) {
				failing(e, dispatch.Silent, 5, call(dispatch.Silent, 0, "", 20))
				e.Probe = call(dispatch.Deadline, 0, "", 1)
			}),
			wire.CauseOutage, wire.ConfidenceLikely, "not even a probe",
		},
		{
			"silence without an answer lately",
			open(func(e *Evidence) { failing(e, dispatch.Silent, 5, call(dispatch.Silent, 0, "", 1)) }),
			wire.CauseOutage, wire.ConfidencePossible, "answered none lately",
		},
		{
			"silence among answers",
			open(func(e *Evidence) {
				failing(e, dispatch.Silent, 5, call(dispatch.Silent, 0, "", 1))
				e.Answered = 20
			}),
			wire.CauseSlow, wire.ConfidenceLikely, "late or not always",
		},
		{
			"most answers come late",
			open(func(e *Evidence) { e.Answered, e.Slow = 20, 18 }),
			wire.CauseSlow, wire.ConfidenceLikely, "18 of them late",
		},
		{
			"silence, and the status page names an incident",
			open(func(e *Evidence) {
				failing(e, dispatch.Silent, 5, call(dispatch.Silent, 0, "", 1))
				e.Answered, e.Page = 20, page(statuspage.Outage, "Delays")
			}),
			wire.CauseOutage, wire.ConfidenceCertain, "Delays",
		},
		{
			"streams are cut",
			open(func(e *Evidence) { failing(e, dispatch.Truncated, 5, call(dispatch.Truncated, 0, "", 1)) }),
			wire.CauseOutage, wire.ConfidenceLikely, "5 truncated",
		},
		{"open, and nobody says why", open(func(*Evidence) {}), wire.CauseOutage, wire.ConfidencePossible, "no call failed"},
	} {
		d := Decide(c.evidence)
		said := slices.ContainsFunc(d.Evidence, func(s string) bool { return strings.Contains(s, c.says) })
		if d.Cause != c.cause || d.Confidence != c.confidence || !said || d.Advice == "" || d.Worker != "claude" {
			t.Errorf("%s: %s, %s: %q\nwant %s, %s with %q", c.situation, d.Cause, d.Confidence, d.Evidence, c.cause, c.confidence, c.says)
		}
	}
}

func TestEveryCauseHasItsAdvice(t *testing.T) {
	for _, cause := range []wire.Cause{
		wire.CauseHealthy, wire.CauseOutage, wire.CauseAccount, wire.CauseThrottled, wire.CauseNetwork, wire.CauseSlow, wire.CauseOurs,
	} {
		if advice[cause] == "" {
			t.Errorf("%s: no advice", cause)
		}
	}
}
