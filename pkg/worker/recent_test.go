package worker

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func told(r *recent, now time.Time) wire.Health {
	var h wire.Health
	r.tell(now, &h)
	return h
}

func TestRecentCallsAreCountedByKindForFiveMinutes(t *testing.T) {
	r := &recent{}
	r.fail(noon, dispatch.Errorf(dispatch.Transient, "x"))
	r.fail(noon.Add(4*time.Minute), dispatch.Errorf(dispatch.Silent, "x"))
	r.fail(noon.Add(4*time.Minute), dispatch.Errorf(dispatch.Silent, "x"))
	r.answer(noon.Add(4*time.Minute), true)
	r.answer(noon, false)
	for after, want := range map[time.Duration]map[string]int64{
		4*time.Minute + 30*time.Second: {"transient": 1, "silent": 2},
		6 * time.Minute:                {"silent": 2},
		time.Hour:                      nil,
	} {
		if h := told(r, noon.Add(after)); !maps.Equal(h.Recent, want) {
			t.Errorf("%v later: %v, want %v", after, h.Recent, want)
		}
	}
	h := told(r, noon.Add(6*time.Minute))
	if h.RecentAnswered != 1 || h.RecentSlow != 1 || h.Answered != 2 || h.FailedAttempts != 3 {
		t.Errorf("%+v", h)
	}
}

func TestRecordOfRecentCallsDoesNotGrow(t *testing.T) {
	r := &recent{}
	for i := range 100_000 {
		r.fail(noon.Add(time.Duration(i)*time.Second), dispatch.Errorf(dispatch.Transient, "%d", i))
	}
	h := told(r, noon.Add(99_999*time.Second))
	if h.Recent["transient"] < 290 || h.Recent["transient"] > 300 {
		t.Errorf("%v of one failure a second", h.Recent)
	}
}

func TestLastFailureKeepsStatusAndCodeAndIsBounded(t *testing.T) {
	r := &recent{}
	r.fail(noon, &dispatch.Error{Kind: dispatch.Account, Status: 401, Code: "invalid_api_key", Message: strings.Repeat("é", 1000)})
	h := told(r, noon)
	want := wire.Call{Kind: dispatch.Account, Status: 401, Code: "invalid_api_key", Message: h.LastFailure.Message, At: noon}
	if *h.LastFailure != want || len(h.LastFailure.Message) > longestWords+3 || !strings.HasPrefix(h.LastFailure.Message, "account (status 401): é") {
		t.Errorf("%+v", *h.LastFailure)
	}
}

func TestFailuresThatTellNothingOfTheProviderAreNotRecorded(t *testing.T) {
	r := &recent{}
	for _, err := range []error{errLate, errGiveBack, dispatch.Errorf(dispatch.Cancelled, "x"), dispatch.Errorf(dispatch.ContentFilter, "x"), dispatch.Errorf(dispatch.Refused, "x")} {
		r.fail(noon, dispatch.AsError(err))
	}
	if h := told(r, noon); h.Recent != nil || h.LastFailure != nil {
		t.Errorf("%v, %+v", h.Recent, h.LastFailure)
	}
}

func TestProbeIsToldWithItsOutcome(t *testing.T) {
	r := &recent{}
	if h := told(r, noon); h.Probe != nil {
		t.Errorf("before the first: %+v", h.Probe)
	}
	r.probed(noon, dispatch.Errorf(dispatch.Transient, "down"))
	if h := told(r, noon); h.Probe.Kind != dispatch.Transient {
		t.Errorf("failed: %+v", h.Probe)
	}
	r.probed(noon, nil)
	if h := told(r, noon); *h.Probe != (wire.Call{At: noon}) {
		t.Errorf("answered: %+v", h.Probe)
	}
}

func TestConnectionsThatDoNotStandAreToldApartFromAnswers(t *testing.T) {
	dial := func(err error) *dispatch.Error {
		return &dispatch.Error{Kind: dispatch.Transient, Cause: fmt.Errorf("call: %w", &url.Error{Op: "Post", Err: &net.OpError{Op: "dial", Err: err}})}
	}
	for _, c := range []struct {
		name string
		err  *dispatch.Error
		want wire.Unreached
	}{
		{"nobody listens", dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), wire.UnreachedRefused},
		{"no such host", dial(&net.DNSError{IsNotFound: true}), wire.UnreachedUnknownHost},
		{"the resolver is silent", dial(&net.DNSError{IsTimeout: true}), wire.UnreachedTimeout},
		{"no route", dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), wire.UnreachedLost},
		{"cut before an answer", &dispatch.Error{Kind: dispatch.Transient, Cause: io.EOF}, wire.UnreachedLost},
		{"a 503", &dispatch.Error{Kind: dispatch.Transient, Status: 503}, ""},
		{"cut in mid-answer", &dispatch.Error{Kind: dispatch.Truncated, Cause: io.ErrUnexpectedEOF}, ""},
		{"an error nobody knows", &dispatch.Error{Kind: dispatch.Transient, Cause: errors.New("x")}, ""},
	} {
		if got := unreached(c.err); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
