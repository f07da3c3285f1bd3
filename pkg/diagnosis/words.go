package diagnosis

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"understudy/pkg/statuspage"
	"understudy/pkg/wire"
)

// advice is what an operator should do, by cause.
var advice = map[wire.Cause]string{
	wire.CauseHealthy:   "nothing",
	wire.CauseOutage:    "wait: the lanes are with the next workers of their chains, and a probe brings them back",
	wire.CauseAccount:   "look at the key, the balance and the limits of the account at the provider; once they are mended a probe brings the worker back within a minute",
	wire.CauseThrottled: "lower the worker's concurrency, raise the limit at the provider, or give another worker a share",
	wire.CauseNetwork:   "look at this host's way out: DNS, proxy, firewall, uplink; the providers are probably well",
	wire.CauseSlow:      "wait, or move the traffic; if it lasts, raise slow_after and the timeouts, or choose a quicker model",
	wire.CauseOurs:      "look at the worker's model, base_url and headers, and apply the configuration again",
}

var unreachedWords = map[wire.Unreached]string{
	wire.UnreachedRefused:     "nobody listens at its address",
	wire.UnreachedUnknownHost: "the name of its host is not known",
	wire.UnreachedTimeout:     "no connection stands in time",
	wire.UnreachedTLS:         "its certificate is not trusted",
	wire.UnreachedLost:        "connections break before an answer",
}

// words names a call by what decides: kind, status, code.
func words(c wire.Call) string {
	s := string(c.Kind)
	if c.Status != 0 {
		s += fmt.Sprintf(", status %d", c.Status)
	}
	if c.Code != "" {
		s += ", code " + c.Code
	}
	return s
}

// facts are the sentences on which any finding rests.
func (e *Evidence) facts() []string {
	var facts []string
	if e.Running > 0 {
		facts = append(facts, e.counts())
	}
	if e.Ready > 0 && e.Ready < e.Running {
		facts = append(facts, fmt.Sprintf("%d of %d instances take requests", e.Ready, e.Running))
	}
	if c := e.LastFailure; c != nil {
		facts = append(facts, fmt.Sprintf("the last failure, at %s: %s", clock(c.At), c.Message))
	}
	switch c := e.Probe; {
	case c == nil:
	case c.Kind == "":
		facts = append(facts, "a probe at "+clock(c.At)+" was answered")
	default:
		facts = append(facts, fmt.Sprintf("a probe at %s failed: %s", clock(c.At), c.Message))
	}
	if page := pageWords(e.Page); page != "" {
		facts = append(facts, page)
	}
	for _, o := range []struct {
		reach Reach
		words string
	}{{Reached, "reached from the same network: "}, {Cut, "not reached either: "}} {
		if names := e.others(o.reach); len(names) > 0 {
			facts = append(facts, o.words+strings.Join(names, ", "))
		}
	}
	return facts
}

// counts tells the last five minutes, the kinds in the order of their names.
func (e *Evidence) counts() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(e.Failures)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", e.Failures[kind], kind))
	}
	s := "in the last five minutes no call failed"
	if len(kinds) > 0 {
		s = "in the last five minutes calls failed: " + strings.Join(kinds, ", ")
	}
	if e.Unreached > 0 {
		s += fmt.Sprintf(" (%d reached no provider)", e.Unreached)
	}
	s += fmt.Sprintf("; %d were answered", e.Answered)
	if e.Slow > 0 {
		s += fmt.Sprintf(", %d of them late", e.Slow)
	}
	return s
}

func pageWords(p statuspage.Report) string {
	s := map[statuspage.Verdict]string{
		statuspage.Unreachable: "the status page cannot be read: " + p.Problem,
		statuspage.Operational: "the status page says that all is well (pages lag behind)",
		statuspage.Degraded:    "the status page reports trouble",
		statuspage.Outage:      "the status page reports an outage",
	}[p.Verdict]
	if len(p.Incidents) > 0 && p.Verdict != statuspage.Unreachable {
		s += ": " + strings.Join(p.Incidents, "; ")
	}
	return s
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
