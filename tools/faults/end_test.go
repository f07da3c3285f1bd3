package main

import (
	"strings"
	"testing"
)

func TestEndsAreReadFromWhatCallersGot(t *testing.T) {
	const half = "one two three four"
	for want, got := range map[end]received{
		wholeAnswer:     {status: 200, text: answer, finish: "stop", done: true},
		emptyAnswer:     {status: 200, finish: "stop", done: true},
		filteredAnswer:  {status: 200, text: half, finish: "content_filter", done: true},
		cleanError:      {status: 200, text: half, failed: true, code: "stream_truncated"},
		truncatedAnswer: {status: 200, text: half, finish: "stop", done: true},
		doubledText:     {status: 200, text: half + " four five", finish: "stop", done: true},
		wrongText:       {status: 200, text: "two one", finish: "stop", done: true},
		noEnd:           {status: 200, text: half},
		hang:            {overdue: true},
		rawRefusal:      {status: 401, failed: true, code: "invalid_api_key"},
		contradiction:   {status: 200, text: half, failed: true, code: "x", done: true},
	} {
		if e := endOf(got); e != want {
			t.Errorf("got %q, want %q", e, want)
		}
		switch want {
		case wholeAnswer, emptyAnswer, filteredAnswer, cleanError:
			if want.bad() {
				t.Errorf("%q is bad", want)
			}
		default:
			if !want.bad() {
				t.Errorf("%q is not bad", want)
			}
		}
	}
}

func TestAStreamIsReadToItsEnd(t *testing.T) {
	const words = `data: {"choices":[{"delta":{"content":"one two"}}]}` + "\n\n: keep-alive\n\n" +
		`data: {"choices":[{"delta":{"content":" three"},"finish_reason":null}]}` + "\n\n"
	for name, c := range map[string]struct {
		events string
		want   received
	}{
		"whole":           {words + `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n", received{text: "one two three", finish: "stop", done: true}},
		"ends with error": {words + `data: {"error":{"message":"m","code":"stream_stalled"}}` + "\n\n", received{text: "one two three", failed: true, code: "stream_stalled"}},
		"just ends":       {words, received{text: "one two three"}},
	} {
		var got received
		got.readEvents(strings.NewReader(c.events))
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	var late received
	late.readEvents(strings.NewReader("data: [DONE]\n\ndata: {}\n\n"))
	if late.broken == nil {
		t.Error("an event after [DONE] passed")
	}
}
