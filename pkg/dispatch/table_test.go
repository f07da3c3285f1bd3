package dispatch_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"understudy/pkg/dispatch"
)

// table is the failure table as a person reads it. A change of behaviour is a
// change of a line here.
const table = `
kind           | again       | next    | later | breaker | status | type                  | code                    | shown    | come back
account        | never       | handoff | no    | opens   | 502    | server_error          | provider_account        | ours     | no
bad_request    | never       | fail    | no    | ignored | 400    | invalid_request_error | bad_request             | as given | no
cancelled      | never       | cancel  | no    | ignored | 499    | invalid_request_error | cancelled               | ours     | no
content_filter | never       | fail    | no    | ignored | 400    | invalid_request_error | content_filter          | as given | no
context_length | never       | handoff | no    | ignored | 400    | invalid_request_error | context_length_exceeded | as given | no
crashed        | never       | fail    | no    | ignored | 500    | server_error          | worker_crashed          | ours     | no
deadline       | never       | expire  | no    | ignored | 408    | timeout_error         | deadline_exceeded       | ours     | no
malformed      | never       | handoff | no    | counted | 502    | server_error          | malformed_answer        | ours     | yes
quality        | never       | handoff | no    | ignored | 502    | server_error          | answer_rejected         | ours     | no
refused        | never       | handoff | no    | ignored | 503    | server_error          | no_worker_could_answer  | ours     | yes
silent         | never       | handoff | no    | counted | 504    | server_error          | provider_silent         | ours     | yes
stalled        | never       | handoff | no    | counted | 504    | server_error          | stream_stalled          | ours     | yes
throttled      | retry_after | handoff | yes   | pauses  | 429    | rate_limit_error      | rate_limit_exceeded     | ours     | yes
transient      | backoff     | handoff | yes   | counted | 503    | server_error          | provider_unavailable    | ours     | yes
truncated      | never       | handoff | no    | counted | 502    | server_error          | stream_truncated        | ours     | yes
unavailable    | never       | handoff | yes   | ignored | 503    | server_error          | worker_unavailable      | ours     | yes
`

func TestTheFailureTableSaysWhatFollowsFromEachKind(t *testing.T) {
	word := func(fact bool, yes, no string) string {
		if fact {
			return yes
		}
		return no
	}
	const row = "%-14s | %-11s | %-7s | %-5s | %-7s | %-6v | %-21s | %-23s | %-8s | %s\n"
	var got strings.Builder
	got.WriteString("\n")
	fmt.Fprintf(&got, row, "kind", "again", "next", "later", "breaker", "status", "type", "code", "shown", "come back")
	for _, kind := range slices.Sorted(maps.Keys(dispatch.Rules)) {
		r := kind.Rule()
		fmt.Fprintf(&got, row, kind, r.Again, r.Next, word(r.Later, "yes", "no"), r.Breaker, r.Status, r.Type, r.Code,
			word(r.AsItCame, "as given", "ours"), word(r.RetryAfter, "yes", "no"))
	}
	if got.String() != table {
		t.Errorf("the table has changed; if that is meant, change it here and in the documents as well\n got:%s\nwant:%s", got.String(), table)
	}
}

func TestAnUnknownKindIsReadAsTransient(t *testing.T) {
	if got := dispatch.Kind("gremlins").Rule(); got != dispatch.Transient.Rule() {
		t.Errorf("got %+v", got)
	}
}

func TestNoRuleContradictsItself(t *testing.T) {
	for kind, r := range dispatch.Rules {
		if r.Later && r.Next != dispatch.Handoff {
			t.Errorf("%s is tried later, yet does not go down the chain", kind)
		}
		if r.AsItCame && r.RetryAfter {
			t.Errorf("%s is the caller's fault, yet the caller is told to come back", kind)
		}
		if r.Next != dispatch.Handoff && r.Breaker != dispatch.Ignored {
			t.Errorf("%s ends the request, yet it counts against the provider", kind)
		}
		if r.Status < 400 || r.Type == "" || r.Code == "" {
			t.Errorf("%s: callers see status %d, type %q, code %q", kind, r.Status, r.Type, r.Code)
		}
	}
}
