package worker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

const (
	// recentSpan is how far the record of recent calls reaches back; it is kept
	// in recentSlices of equal length, so that its size does not depend on load.
	recentSpan   = 5 * time.Minute
	recentSlices = 30
	// longestWords bounds, in bytes, what health repeats of a provider's words.
	longestWords = 300
)

// recent is a record of the calls of the last minutes, for the diagnosis. It
// is safe for concurrent use.
type recent struct {
	mu     sync.Mutex
	slices [recentSlices]recentSlice

	answered, failures int64 // since the beginning
	lastFailure, probe *wire.Call
	lastAnswered       time.Time
}

type recentSlice struct {
	number                    int64 // which slice of time this is
	kinds                     map[dispatch.Kind]int64
	unreached, answered, slow int64
}

// at returns the slice for a time, emptied if it held an older one.
func (r *recent) at(now time.Time) *recentSlice {
	number := sliceNumber(now)
	s := &r.slices[number%recentSlices]
	if s.number != number {
		*s = recentSlice{number: number, kinds: map[dispatch.Kind]int64{}}
	}
	return s
}

func sliceNumber(t time.Time) int64 { return t.UnixNano() / int64(recentSpan/recentSlices) }

// answer notes an answer; slow says that its first token came late.
func (r *recent) answer(now time.Time, slow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.at(now)
	s.answered++
	if slow {
		s.slow++
	}
	r.answered++
	r.lastAnswered = now.UTC()
}

// fail notes a failed attempt, unless its kind says nothing about the provider
// or our configuration.
func (r *recent) fail(now time.Time, e *dispatch.Error) {
	if tells := e.Kind.Rule().Breaker != dispatch.Ignored || e.Kind == dispatch.BadRequest; !tells || errors.Is(e, errGiveBack) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	call := callOf(now, e)
	s := r.at(now)
	s.kinds[e.Kind]++
	if call.Unreached != "" {
		s.unreached++
	}
	r.failures++
	r.lastFailure = call
}

// probed notes how a probe ended.
func (r *recent) probed(now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probe = &wire.Call{At: now.UTC()}
	if err != nil {
		r.probe = callOf(now, dispatch.AsError(err))
	}
}

// tell writes the record into a report.
func (r *recent) tell(now time.Time, h *wire.Health) {
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := sliceNumber(now) - recentSlices + 1
	for _, s := range r.slices {
		if s.number < oldest {
			continue
		}
		for kind, n := range s.kinds {
			if h.Recent == nil {
				h.Recent = map[string]int64{}
			}
			h.Recent[string(kind)] += n
		}
		h.RecentUnreached += s.unreached
		h.RecentAnswered += s.answered
		h.RecentSlow += s.slow
	}
	h.Answered, h.FailedAttempts = r.answered, r.failures
	h.LastFailure, h.Probe, h.LastAnsweredAt = r.lastFailure, r.probe, r.lastAnswered
}

func callOf(now time.Time, e *dispatch.Error) *wire.Call {
	return &wire.Call{Kind: e.Kind, Status: int64(e.Status), Code: e.Code, Message: inBrief(e.Error()), Unreached: unreached(e), At: now.UTC()}
}

func inBrief(text string) string {
	if len(text) <= longestWords {
		return text
	}
	cut := longestWords
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// unreached says why a failed call did not reach its provider; empty when it
// did, or when nothing tells.
func unreached(e *dispatch.Error) wire.Unreached {
	if e.Kind != dispatch.Transient || e.Status != 0 || e.Cause == nil {
		return ""
	}
	dns, isDNS := errors.AsType[*net.DNSError](e.Cause)
	timeout, isNet := errors.AsType[net.Error](e.Cause)
	switch {
	case isDNS && dns.IsNotFound:
		return wire.UnreachedUnknownHost
	case errors.Is(e.Cause, syscall.ECONNREFUSED):
		return wire.UnreachedRefused
	case untrusted(e.Cause):
		return wire.UnreachedTLS
	case errors.Is(e.Cause, context.DeadlineExceeded), isNet && timeout.Timeout():
		return wire.UnreachedTimeout
	}
	if isNet || errors.Is(e.Cause, io.EOF) || errors.Is(e.Cause, io.ErrUnexpectedEOF) {
		return wire.UnreachedLost
	}
	return ""
}

func untrusted(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return verification || authority || record
}
