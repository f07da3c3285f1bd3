package diagnosis

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"understudy/pkg/chain"
	"understudy/pkg/dispatch"
	"understudy/pkg/statuspage"
	"understudy/pkg/wire"
)

// Evidence is what there is to go by about one worker. Counts reach back five
// minutes. Where some instances work and others do not, State, the counts and
// the calls are those of the ones that do not.
type Evidence struct {
	Worker string
	// Remote says that the provider lies outside our own network.
	Remote bool
	// Running is how many instances were heard of, Ready how many of them take
	// requests.
	Running, Ready int
	// State is the worst among the instances.
	State wire.HealthState
	// Failures counts failed calls by kind; Unreached those among them that
	// reached no provider.
	Failures  map[dispatch.Kind]int64
	Unreached int64
	// Answered counts calls that were answered; Slow those among them whose
	// first token came late.
	Answered, Slow int64
	// LastFailure and Probe are the latest calls of their sort; nil for none.
	LastFailure, Probe *wire.Call
	// LastAnswered is zero before the first answer.
	LastAnswered time.Time
	// Page is what the provider's status page says.
	Page statuspage.Report
	// Others are the other workers that ask a model.
	Others []Other
	// At is when the latest report was made, by its worker's clock.
	At time.Time
}

// Other is what another worker tells about the network that it shares.
type Other struct {
	Worker string
	Remote bool
	Reach  Reach
}

// Reach says whether a provider can be reached.
type Reach string

// The values of Reach.
const (
	// Unknown means that it was not called lately.
	Unknown Reach = ""
	// Reached means that it answered lately, be it with an error.
	Reached Reach = "reached"
	// Cut means that no connection to it stands.
	Cut Reach = "cut"
)

// reachedLately is how old an answer may be to prove that the network works.
const reachedLately = time.Minute

// Collect picks the evidence about one worker from the configuration, the
// fresh reports of all instances by worker, and its status page.
func Collect(worker string, workers map[string]wire.Worker, reports map[string][]wire.Health, page statuspage.Report) Evidence {
	e := Evidence{Worker: worker, Remote: remote(workers[worker]), Page: page, Failures: map[dispatch.Kind]int64{}, State: wire.HealthStateReady}
	var sick, ready []wire.Health
	for _, h := range reports[worker] {
		e.Running++
		switch h.State {
		case wire.HealthStateOpen, wire.HealthStatePaused:
			sick = append(sick, h)
		default:
			ready = append(ready, h)
		}
	}
	e.Ready = len(ready)
	if len(sick) == 0 {
		sick = ready
	}
	for _, h := range sick {
		e.add(h)
	}
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		if name != worker && chain.IsModel(workers[name]) {
			e.Others = append(e.Others, Other{Worker: name, Remote: remote(workers[name]), Reach: reach(reports[name])})
		}
	}
	return e
}

func (e *Evidence) add(h wire.Health) {
	if h.State == wire.HealthStateOpen || h.State == wire.HealthStatePaused && e.State != wire.HealthStateOpen {
		e.State = h.State
	}
	for kind, n := range h.Recent {
		e.Failures[dispatch.Kind(kind)] += n
	}
	e.Unreached += h.RecentUnreached
	e.Answered += h.RecentAnswered
	e.Slow += h.RecentSlow
	e.LastFailure, e.Probe = later(e.LastFailure, h.LastFailure), later(e.Probe, h.Probe)
	if h.LastAnsweredAt.After(e.LastAnswered) {
		e.LastAnswered = h.LastAnsweredAt
	}
	if h.At.After(e.At) {
		e.At = h.At
	}
}

// later returns the later of two calls, b when they tie.
func later(a, b *wire.Call) *wire.Call {
	if b == nil || a != nil && a.At.After(b.At) {
		return a
	}
	return b
}

// latest is the last word on the provider: a probe, or a call that failed.
func (e *Evidence) latest() wire.Call {
	if c := later(e.LastFailure, e.Probe); c != nil {
		return *c
	}
	return wire.Call{}
}

// CutOff says whether the last word that an instance has of its provider is
// that it was not reached.
func CutOff(h wire.Health) bool {
	last := later(h.LastFailure, h.Probe)
	return last != nil && last.Unreached != "" && !h.LastAnsweredAt.After(last.At) && h.At.Sub(last.At) < 5*time.Minute
}

func reach(reports []wire.Health) Reach {
	cut := len(reports) > 0
	for _, h := range reports {
		sign := h.LastAnsweredAt
		for _, c := range []*wire.Call{h.LastFailure, h.Probe} {
			if c != nil && (c.Kind == "" || c.Status > 0) && c.At.After(sign) {
				sign = c.At
			}
		}
		switch {
		case CutOff(h):
		case !sign.IsZero() && h.At.Sub(sign) < reachedLately:
			return Reached
		default:
			cut = false
		}
	}
	if cut {
		return Cut
	}
	return Unknown
}

// remote says whether a worker's provider lies outside our own network, as far
// as its address tells.
func remote(w wire.Worker) bool {
	if !chain.IsModel(w) {
		return false
	}
	u, err := url.Parse(w.BaseURL)
	if err != nil || w.BaseURL == "" {
		return true
	}
	host := strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast()
	}
	inside := host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal")
	return !inside && strings.Contains(host, ".")
}
