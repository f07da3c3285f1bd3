package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"

	"understudy/pkg/chat"
	"understudy/pkg/wire"
)

// The headers of a response, beside its body.
const (
	headerRequestID   = "Understudy-Request-Id"
	headerWorker      = "Understudy-Worker"
	headerModel       = "Understudy-Model"
	headerAttempts    = "Understudy-Attempts"
	headerDegraded    = "Understudy-Degraded"
	headerQuality     = "Understudy-Quality"
	headerShouldRetry = "X-Should-Retry"
)

// credit is the `understudy` object of an answer: who gave it, and how.
type credit struct {
	ID       string   `json:"id"`
	Worker   string   `json:"worker,omitzero"`
	Model    string   `json:"model,omitzero"`
	Attempts int      `json:"attempts"`
	Degraded bool     `json:"degraded"`
	Sources  []string `json:"sources,omitzero"`
	// Quality is the check that the answer did not pass.
	Quality wire.QualityCheck `json:"quality,omitzero"`
}

// credited adds the `understudy` object to an answer, or to a chunk of it, and
// leaves every other byte as it is.
func credited(object []byte, r wire.Result) ([]byte, error) {
	value, err := json.Marshal(credit{
		ID: r.ID, Worker: r.Worker, Model: r.Model, Attempts: len(r.Attempts), Degraded: r.Degraded, Sources: r.Sources, Quality: r.Quality,
	})
	if err != nil {
		return nil, err
	}
	return chat.Set(object, chat.Field{Name: "understudy", Value: value})
}

// owned tells the caller's SDK that the pipeline looks after the request now: a
// retry would be a second request.
func owned(h http.Header) { h.Set(headerShouldRetry, "false") }

// announce writes what is known of a result into the headers.
func announce(h http.Header, r wire.Result) {
	if r.Worker != "" {
		h.Set(headerWorker, r.Worker)
	}
	if r.Model != "" {
		h.Set(headerModel, r.Model)
	}
	h.Set(headerAttempts, strconv.Itoa(len(r.Attempts)))
	h.Set(headerDegraded, strconv.FormatBool(r.Degraded))
	if r.Quality != "" {
		h.Set(headerQuality, string(r.Quality))
	}
}
