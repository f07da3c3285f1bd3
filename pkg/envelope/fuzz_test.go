package envelope_test

import (
	"strings"
	"testing"

	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

// FuzzOpen: whatever the headers say, opening does not panic, the request has an
// id to end under, and so has its next hop. Each line is one header.
func FuzzOpen(f *testing.F) {
	for _, folder := range []string{"valid", "invalid"} {
		for _, h := range goldenHeaders(f, folder) {
			var lines []string
			for name, values := range h {
				lines = append(lines, name+": "+values[0])
			}
			f.Add(strings.Join(lines, "\n"))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := envelope.Header{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			h[name] = append(h[name], value)
		}
		e := envelope.Open(wire.Route{}, place, h, nil)
		if !wire.ValidID(e.Request.ID) {
			t.Fatalf("id %q", e.Request.ID)
		}
		if e.Request.Deadline.After(e.Accepted.Add(envelope.DefaultTimeoutMax)) {
			t.Fatalf("deadline %v of a request accepted at %v", e.Request.Deadline, e.Accepted)
		}
		if e.Hops < 0 || e.Replay < 0 || e.Calls() > len(e.Attempts) {
			t.Fatalf("hops %d, replay %d, calls %d", e.Hops, e.Replay, e.Calls())
		}
		if e.Request.Degrade != dispatch.DegradeAllow && e.Request.Degrade != dispatch.DegradeNever {
			t.Fatalf("degrade %q", e.Request.Degrade)
		}
		if e.Invalid != nil && (e.Invalid.Kind != dispatch.BadRequest || e.Invalid.Param == "") {
			t.Fatalf("blamed %+v", e.Invalid)
		}
		next, id := e.Handoff(nil)
		if id == e.Request.ID {
			t.Fatalf("the next hop is a duplicate of the request %q", id)
		}
		if again := envelope.Open(wire.Route{}, place, next, nil); again.Request.ID != e.Request.ID {
			t.Fatalf("id %q became %q", e.Request.ID, again.Request.ID)
		}
	})
}
