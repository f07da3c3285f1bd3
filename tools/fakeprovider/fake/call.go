package fake

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxBody bounds what a call may send, in bytes.
const maxBody = 64 << 20

// Outcome says how a call ended: one of the constants below or, for a call
// that a fault struck, the kind of the fault.
type Outcome string

// The outcomes of calls that no fault struck.
const (
	Answered     Outcome = "answered"
	Unauthorized Outcome = "unauthorized"
	RateLimited  Outcome = "rate_limited"
	Refused      Outcome = "refused" // not understood
	Unavailable  Outcome = "down"
	Gone         Outcome = "gone"    // the caller left
	Dropped      Outcome = "dropped" // the provider closed or crashed
)

// call is one request on its way through the provider. A method that ends the
// call before its time does so by aborting the handler, and does not return.
type call struct {
	p       *Provider
	w       http.ResponseWriter
	r       *http.Request
	state   *state
	id      string
	body    []byte
	request request
	model   string // without the fault that the name asks for
	named   *Fault // the fault that the name asks for
	fault   Fault  // the fault that strikes; the zero value is none
	outcome Outcome
}

// newCall starts a call.
func (p *Provider) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{p: p, w: w, r: r, state: p.state.Load(), outcome: Answered}
	c.id = p.options.Name + "-" + strconv.FormatUint(p.ids.Add(1), 10)
	w.Header().Set("X-Request-Id", "req_"+c.id)
	return c
}

// counted serves calls that the stats count and the recorder remembers.
func (p *Provider) counted(answer func(*call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := p.newCall(w, r)
		misunderstood := c.read()
		record := p.recorder.begin(c) // before it counts: who waits for the count finds the record
		p.stats.begin(c.model)
		defer func() {
			p.recorder.end(record, c.outcome)
			p.stats.end(c.outcome)
		}()
		switch {
		case !c.admitted() || c.limited():
		case misunderstood != nil:
			c.refuse(*misunderstood, Refused)
		case c.struck():
		default:
			answer(c)
		}
	}
}

// uncounted serves the calls beside the work: they meet a closed door, but no
// limits and no faults.
func (p *Provider) uncounted(answer func(*call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if c := p.newCall(w, r); c.admitted() {
			answer(c)
		}
	}
}

// read takes the request in, whatever happens to it later: a server notices
// that its caller left only once it has read the body. It returns what is wrong
// with the request, nil if nothing is.
func (c *call) read() *problem {
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody)); err != nil {
		return badRequest("", "The body could not be read: %v", err)
	}
	if err := json.Unmarshal(c.body, &c.request); err != nil {
		return badRequest("", "The JSON body of the request could not be parsed: %v", err)
	}
	if c.request.Model == "" {
		return badRequest("model", "You must provide a model parameter.")
	}
	if c.model, c.named, err = ParseModel(c.request.Model); err != nil {
		return badRequest("model", "%v", err)
	}
	if c.model == "" {
		c.model = c.p.options.Models[0]
	}
	return nil
}

// admitted checks that the provider is up and the key is right.
func (c *call) admitted() bool {
	if c.state.down != "" {
		c.outcome = Unavailable
	}
	switch c.state.down {
	case DownReset:
		c.reset()
	case DownSilence:
		c.hang()
	case DownRefuse:
		c.refuse(problemOf(http.StatusServiceUnavailable), Unavailable)
		return false
	}
	want, got := "Bearer "+c.p.options.APIKey, c.r.Header.Get("Authorization")
	if c.p.options.APIKey != "" && subtle.ConstantTimeCompare([]byte(want), []byte(got)) == 0 {
		c.refuse(problems[Account], Unauthorized)
		return false
	}
	return true
}

// limited refuses a call above the rate limit.
func (c *call) limited() bool {
	reservation := c.p.limiter.Reserve()
	wait := reservation.Delay()
	if wait == 0 {
		return false
	}
	reservation.Cancel()
	limit := problemOf(http.StatusTooManyRequests)
	limit.retryAfter = new(Duration(wait))
	c.refuse(limit, RateLimited)
	return true
}

// struck finds the fault of this call and says whether it leaves no answer.
func (c *call) struck() bool {
	fault := c.named
	switch {
	case fault == nil:
		fault = c.p.rules.strike(c.model)
	case !c.p.rules.draw(fault.Probability):
		fault = nil
	}
	if fault == nil {
		return false
	}
	c.fault, c.outcome = *fault, Outcome(fault.Kind)
	switch fault.Kind {
	case Reset:
		c.reset()
	case Silence:
		c.hang()
	}
	refusal, refuses := fault.problem()
	if refuses {
		c.refuse(refusal, c.outcome)
	}
	return refuses
}

// refuse answers with an error after the usual latency.
func (c *call) refuse(why problem, outcome Outcome) {
	c.pause(c.p.options.Latency)
	c.outcome = outcome
	why.write(c.w)
}

// pause waits. A call that is over does not return from it.
func (c *call) pause(d time.Duration) {
	c.proceed()
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.r.Context().Done():
		c.abort(Gone)
	case <-c.state.over:
		c.abort(Dropped)
	case <-timer.C:
	}
}

// proceed returns unless the call is over.
func (c *call) proceed() {
	select {
	case <-c.r.Context().Done():
		c.abort(Gone)
	case <-c.state.over:
		c.abort(Dropped)
	default:
	}
}

// hang waits for the call to be over.
func (c *call) hang() {
	select {
	case <-c.r.Context().Done():
		c.abort(Gone)
	case <-c.state.over:
		c.abort(Dropped)
	}
}

// abort closes the connection as it stands. The outcome of a call that a fault
// struck or that met a closed door remains.
func (c *call) abort(outcome Outcome) {
	if c.outcome == Answered {
		c.outcome = outcome
	}
	panic(http.ErrAbortHandler)
}

// reset closes the connection with a TCP reset. A connection that cannot be
// reset (HTTP/2, TLS, a pipe) is closed.
func (c *call) reset() {
	connection, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0) // a connection that is gone needs no reset
	}
	_ = connection.Close()
	panic(http.ErrAbortHandler)
}
