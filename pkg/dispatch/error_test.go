package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"understudy/pkg/dispatch"
)

func TestEveryErrorHasAKind(t *testing.T) {
	throttled := dispatch.Errorf(dispatch.Throttled, "slow down")
	for name, c := range map[string]struct {
		err  error
		want dispatch.Kind
	}{
		"none":                       {nil, ""},
		"an error of ours":           {throttled, dispatch.Throttled},
		"wrapped":                    {fmt.Errorf("ask openai: %w", throttled), dispatch.Throttled},
		"joined":                     {errors.Join(io.EOF, throttled), dispatch.Throttled},
		"a deadline":                 {fmt.Errorf("read: %w", context.DeadlineExceeded), dispatch.Deadline},
		"a cancelled context":        {fmt.Errorf("read: %w", context.Canceled), dispatch.Cancelled},
		"ours over a context's":      {&dispatch.Error{Kind: dispatch.Silent, Cause: context.DeadlineExceeded}, dispatch.Silent},
		"anything else may pass":     {io.ErrUnexpectedEOF, dispatch.Transient},
		"words that sound like ours": {errors.New("429 throttled"), dispatch.Transient},
	} {
		if got := dispatch.KindOf(c.err); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAsErrorKeepsTheErrorOrItsCause(t *testing.T) {
	if e := dispatch.AsError(nil); e != nil {
		t.Errorf("nil became %v", e)
	}
	ours := dispatch.Errorf(dispatch.Account, "status %d", 401)
	if e := dispatch.AsError(fmt.Errorf("ask: %w", ours)); e != ours {
		t.Errorf("got %v, want the error underneath", e)
	}
	for _, cause := range []error{io.EOF, context.Canceled, context.DeadlineExceeded} {
		if e := dispatch.AsError(cause); !errors.Is(e, cause) {
			t.Errorf("%v lost its cause: %v", cause, e)
		}
	}
}

func TestAnErrorReadsAsKindStatusAndWords(t *testing.T) {
	for want, e := range map[string]*dispatch.Error{
		"throttled (status 429): slow down": {Kind: dispatch.Throttled, Status: 429, Message: "slow down", Cause: io.EOF},
		"truncated: unexpected EOF":         {Kind: dispatch.Truncated, Cause: io.ErrUnexpectedEOF},
		"silent":                            {Kind: dispatch.Silent},
		"bad_request: want 3":               dispatch.Errorf(dispatch.BadRequest, "want %d", 3),
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
