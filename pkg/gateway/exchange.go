package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/wire"
)

// exchange is one HTTP request and its response, with what the access log and
// the metrics tell about it.
type exchange struct {
	http.ResponseWriter
	control  *http.ResponseController
	transfer time.Duration
	started  time.Time
	status   int
	bytes    int64

	id, route, worker string
	degraded          bool
}

func (x *exchange) WriteHeader(status int) {
	x.status = status
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	n, err := x.ResponseWriter.Write(p)
	x.bytes += int64(n)
	return n, err
}

// patience gives the caller time to take the next piece. A writer that knows no
// deadlines is no server's.
func (x *exchange) patience() { _ = x.control.SetWriteDeadline(time.Now().Add(x.transfer)) }

// send writes a piece of a stream at once.
func (x *exchange) send(p []byte) error {
	x.patience()
	if _, err := x.Write(p); err != nil {
		return err
	}
	return x.control.Flush()
}

// reply sends a whole JSON body.
func (x *exchange) reply(status int, body []byte) {
	x.patience()
	h := x.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(status)
	_, _ = x.Write(body) // a caller that is gone needs no body
}

func (x *exchange) json(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		x.fail(internal())
		return
	}
	x.reply(status, body)
}

func (x *exchange) fail(f *wire.Failure) {
	if f.RetryAfterMS > 0 {
		x.Header().Set("Retry-After", retryAfter(f))
	}
	x.reply(int(f.Status), errorBody(f))
}

// about notes which request the exchange is about.
func (x *exchange) about(id, route string) {
	x.id, x.route = id, route
	x.Header().Set(headerRequestID, id)
}

type handler func(*exchange, *http.Request)

// serve wraps a handler: key, access log, and a wall against panics.
func (g *Gateway) serve(level zerolog.Level, open bool, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, control: http.NewResponseController(w), transfer: g.pace.transfer, started: time.Now()}
		defer g.access(level, x, r)
		defer g.survive(x)
		if !open && !g.keys.admit(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			f := invalid("", "invalid_api_key", "present one of the gateway's API keys as `Authorization: Bearer <key>`")
			f.Status = http.StatusUnauthorized
			x.fail(f)
			return
		}
		h(x, r)
	}
}

// survive turns a panic into an error of ours. A response that has begun is cut,
// so that nobody takes it for a whole one.
func (g *Gateway) survive(x *exchange) {
	trouble := recover()
	if trouble == nil {
		return
	}
	g.log.Error().Interface("panic", trouble).Str("request", x.id).Bytes("stack", debug.Stack()).Msg("request panicked")
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	x.fail(internal())
}

func (g *Gateway) access(level zerolog.Level, x *exchange, r *http.Request) {
	e := g.log.WithLevel(level)
	if x.id != "" {
		e = e.Str("request", x.id).Str("route", x.route)
	}
	if x.worker != "" {
		e = e.Str("worker", x.worker).Bool("degraded", x.degraded)
	}
	e.Str("method", r.Method).Str("path", r.URL.Path).Int("status", x.status).
		Int64("bytes", x.bytes).Dur("duration_ms", time.Since(x.started)).Msg("served")
}

// admit says whether an Authorization header opens the door. How long it takes
// tells nothing about the keys.
func (k keyring) admit(authorization string) bool {
	if len(k) == 0 {
		return true
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	match := 0
	for _, key := range k {
		match |= subtle.ConstantTimeCompare(key[:], digest[:])
	}
	return match == 1 && strings.EqualFold(scheme, "Bearer")
}
