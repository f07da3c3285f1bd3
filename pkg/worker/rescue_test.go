package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

type answering = func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error)

// delta is a chunk that says a piece of text.
func delta(id, text string) dispatch.Chunk {
	quoted, _ := json.Marshal(text)
	return raw(id, `{"content":`+string(quoted)+`}`, "null", text != "")
}

func raw(id, delta, finish string, output bool) dispatch.Chunk {
	return dispatch.Chunk{Output: output, Data: fmt.Appendf(nil, `{"id":%q,"object":"chat.completion.chunk","created":7,"model":%q,"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`, id, "model-"+id, delta, finish)}
}

// breaks emits pieces and then fails.
func breaks(id string, kind dispatch.Kind, pieces ...string) answering {
	return func(_ context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		emit(raw(id, `{"role":"assistant","content":""}`, "null", false))
		for _, piece := range pieces {
			emit(delta(id, piece))
		}
		return nil, dispatch.Errorf(kind, "broken")
	}
}

// streams emits pieces to the end.
func streams(id string, pieces ...string) answering {
	return func(_ context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		var a chat.Assembler
		say := func(c dispatch.Chunk) {
			if _, err := a.Add(c.Data); err != nil {
				panic(err)
			}
			emit(c)
		}
		say(raw(id, `{"role":"assistant","content":""}`, "null", false))
		for _, piece := range pieces {
			say(delta(id, piece))
		}
		say(raw(id, `{}`, `"stop"`, false))
		say(dispatch.Chunk{Data: fmt.Appendf(nil, `{"id":%q,"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}`, id)})
		body, err := a.Completion()
		return &dispatch.Answer{Body: body, Model: a.Model(), Usage: a.Usage()}, err
	}
}

// byTurn answers the first call in the first way, and so on; later ones in the last.
func byTurn(turns ...answering) script {
	calls := make(chan int, 1)
	calls <- 0
	return script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		n := <-calls
		calls <- n + 1
		return turns[min(n, len(turns)-1)](ctx, req, emit)
	}}
}

// tale is what a listener was told of one request.
type tale struct {
	text, finish string
	ids, models  []string
	end          wire.Result
}

// listen asks for a stream and tells what came once it has ended. Chunks must
// be numbered without a gap, and no text may follow the finish.
func (s *stage) listen(id, body string, headers ...string) func() tale {
	s.Helper()
	inbox := s.bus.NewInbox()
	heard := make(chan bus.Message, 10000)
	stop, err := s.bus.Listen(inbox, "", func(m bus.Message) { heard <- m })
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(stop)
	s.publish(id, body, append(headers, wire.HeaderStreamTo, inbox, wire.HeaderReplyTo, inbox)...)
	return func() (t tale) {
		s.Helper()
		var a chat.Assembler
		for n := 0; ; n++ {
			var m bus.Message
			select {
			case m = <-heard:
			case <-time.After(30 * time.Second):
				s.Fatalf("%s: nothing after chunk %d", id, n)
			}
			if m.Header.Get(wire.HeaderStatus) != "" {
				if err := json.Unmarshal(m.Body, &t.end); err != nil {
					s.Fatal(err)
				}
				t.text = a.Text()
				if reasons := a.FinishReasons(); len(reasons) > 0 {
					t.finish = reasons[0]
				}
				return t
			}
			if got := m.Header.Get(wire.HeaderChunk); got != fmt.Sprint(n) {
				s.Errorf("%s: chunk %s after %d others: %s", id, got, n, m.Body)
			}
			if a.Complete() && chat.ReadPiece(m.Body).Text != "" {
				s.Errorf("%s: text after the finish: %s", id, m.Body)
			}
			if _, err := a.Add(m.Body); err != nil {
				s.Error(err)
			}
			if id := chat.Text(m.Body, "id"); !slices.Contains(t.ids, id) {
				t.ids = append(t.ids, id)
			}
			if model := chat.Text(m.Body, "model"); model != "" && !slices.Contains(t.models, model) {
				t.models = append(t.models, model)
			}
		}
	}
}

func answerText(t *testing.T, r wire.Result) string {
	t.Helper()
	var a chat.Assembler
	if r.Status != dispatch.StatusAnswered {
		t.Fatalf("%s: %s %+v", r.ID, r.Status, r.Error)
	}
	if _, err := a.Add(r.Answer); err != nil {
		t.Fatal(err)
	}
	return a.Text()
}

func TestBrokenStreamIsGoneOnWithByTheNextModel(t *testing.T) {
	cases := []struct {
		id        string
		kind      dispatch.Kind
		said, add []string
		want      string
	}{
		{"no-overlap", dispatch.Truncated, []string{"The ", "capital"}, []string{" of", " France", " is Paris"}, "The capital of France is Paris"},
		{"exact-overlap", dispatch.Stalled, []string{"The ", "capital"}, []string{"capital", " of France"}, "The capital of France"},
		{"partial-overlap", dispatch.Transient, []string{"of all ", "the cap"}, []string{"the", " capital"}, "of all the capital"},
		{"restart", dispatch.Malformed, []string{"The ", "capital"}, []string{"The", " capital of", " France"}, "The capital of France"},
		{"chinese", dispatch.Truncated, []string{"今天", "天气"}, []string{"天气", "很好"}, "今天天气很好"},
		{"emoji", dispatch.Truncated, []string{"well 🎉"}, []string{" done", " 🎉"}, "well 🎉 done 🎉"},
		{"space", dispatch.Truncated, []string{"one "}, []string{" ", "two"}, "one two"},
		{"nothing-more", dispatch.Truncated, []string{"All is said."}, nil, "All is said."},
	}
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Retries: zero(), Breaker: wire.BreakerSettings{Consecutive: 1000, Minimum: 1000}}
	by := func(pick func(i int) answering) script {
		return script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
			for i, c := range cases {
				if c.id == req.ID {
					return pick(i)(ctx, req, emit)
				}
			}
			return nil, dispatch.Errorf(dispatch.BadRequest, "who is %s?", req.ID)
		}}
	}
	s.start(worker.Config{Name: "openai", Settings: settings}, by(func(i int) answering { return breaks("first", cases[i].kind, cases[i].said...) }))
	s.start(worker.Config{Name: "backup"}, by(func(i int) answering { return streams("second", cases[i].add...) }))
	for _, c := range cases {
		t.Run(c.id, func(t *testing.T) {
			told := s.listen(c.id, hello)()
			if told.text != c.want || told.finish != "stop" {
				t.Errorf("listener has %q, finished by %q, want %q", told.text, told.finish, c.want)
			}
			if got := answerText(t, told.end); got != c.want {
				t.Errorf("recorded %q, want %q", got, c.want)
			}
			r := told.end
			if r.Worker != "backup" || r.Model != "model-second" || r.Degraded || len(r.Attempts) != 2 || r.Attempts[0].Kind != c.kind {
				t.Errorf("result %+v", r)
			}
			if !slices.Equal(told.ids, []string{"first"}) || told.models[0] != "model-first" || chat.Text(r.Answer, "id") != "first" {
				t.Errorf("ids %q, models %q, recorded %s", told.ids, told.models, r.Answer)
			}
		})
	}
	if letters := s.awaitDeadLetters(0); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

func TestUsageOfAllAttemptsIsAddedUp(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "second", "third"}})
	counts := func(text, usage string) answering {
		return func(_ context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
			emit(dispatch.Chunk{Output: true, Data: []byte(`{"choices":[{"index":0,"delta":{"content":"` + text + `"}}],"usage":` + usage + `}`)})
			return nil, dispatch.Errorf(dispatch.Truncated, "cut")
		}
	}
	s.start(worker.Config{Name: "openai"}, script{answer: counts("one", `{"prompt_tokens":5,"completion_tokens":1}`)})
	s.start(worker.Config{Name: "second"}, script{answer: counts(" and a two", `{"prompt_tokens":7,"completion_tokens":3}`)})
	s.start(worker.Config{Name: "third"}, script{answer: streams("third", " and a three")})
	told := s.listen("a", hello)()
	if want := (wire.Usage{InputTokens: 22, OutputTokens: 6}); told.end.Usage != want || told.text != "one and a two and a three" {
		t.Errorf("usage %+v, want %+v, of %q", told.end.Usage, want, told.text)
	}
	if usage := string(chat.Get(told.end.Answer, "usage")); usage != `{"prompt_tokens":22,"completion_tokens":6,"total_tokens":28}` {
		t.Errorf("answer's usage %s", usage)
	}
}

// asked keeps the messages of each call.
func asked(bodies chan<- string, answer answering) script {
	return script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		bodies <- string(chat.Get(req.Body, "messages"))
		return answer(ctx, req, emit)
	}}
}

func TestModelThatRejectsAPrefillIsAskedWithAMessageFromThenOn(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	s.start(worker.Config{Name: "openai"}, script{answer: breaks("first", dispatch.Truncated, "The capital")})
	bodies := make(chan string, 10)
	s.start(worker.Config{Name: "backup", Settings: wire.Worker{Continuation: wire.ContinuationPrefix}}, asked(bodies, func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		if strings.HasSuffix(string(chat.Get(req.Body, "messages")), `"prefix":true}]`) {
			return nil, dispatch.Errorf(dispatch.BadRequest, "the last message must be the user's")
		}
		return streams("second", " of France")(ctx, req, emit)
	}))
	for i, want := range []int{2, 1} {
		told := s.listen(fmt.Sprint("r", i), hello)()
		if told.text != "The capital of France" || len(told.end.Attempts) != 2 {
			t.Fatalf("listener has %q, result %+v", told.text, told.end)
		}
		if calls := len(bodies); calls != want {
			t.Errorf("request %d: %d calls, want %d", i, calls, want)
		}
		for len(bodies) > 0 {
			if body := <-bodies; !strings.Contains(body, `{"role":"assistant","content":"The capital"`) {
				t.Errorf("asked %s", body)
			}
		}
	}
}

func TestJSONIsGoneOnWithByAPrefillAlone(t *testing.T) {
	const wantsJSON = `{"messages":[{"role":"user","content":"hello"}],"response_format":{"type":"json_object"}}`
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "asks", "prefills"}})
	prefills := wire.Worker{Kind: wire.WorkerKindOpenai, Continuation: wire.ContinuationPrefill}
	if err := s.bus.SetWorker(t.Context(), "prefills", prefills); err != nil {
		t.Fatal(err)
	}
	s.start(worker.Config{Name: "openai"}, script{answer: breaks("first", dispatch.Truncated, `{"a":`, `1`)})
	s.start(worker.Config{Name: "asks"}, script{answer: streams("second", "Sure!")})
	s.start(worker.Config{Name: "prefills", Settings: prefills}, byTurn(streams("third", `1`, `}`), failsWith(dispatch.Errorf(dispatch.BadRequest, "no"))))
	if told := s.listen("a", wantsJSON)(); told.text != `{"a":11}` || told.end.Worker != "prefills" {
		t.Errorf("listener has %q, result %+v", told.text, told.end)
	}
	if told := s.listen("b", wantsJSON)(); told.end.Status != dispatch.StatusFailed || told.end.Error.Kind != dispatch.Truncated || told.finish != "" {
		t.Errorf("finished by %q, result %+v %+v", told.finish, told.end, told.end.Error)
	}
}

func TestWhatNoOtherModelCanTakeUpFails(t *testing.T) {
	said := map[string][]dispatch.Chunk{
		"tool-call":      {delta("c", "Let me see"), raw("c", `{"tool_calls":[{"index":0,"function":{"name":"f"}}]}`, "null", true)},
		"refusal":        {raw("c", `{"refusal":"I"}`, "null", true)},
		"second-choice":  {delta("c", "one"), {Output: true, Data: []byte(`{"choices":[{"index":1,"delta":{"content":"two"}}]}`)}},
		"log-probs":      {{Output: true, Data: []byte(`{"choices":[{"index":0,"delta":{"content":"one"},"logprobs":{"content":[{"token":"one"}]}}]}`)}},
		"more-than-fits": {delta("c", strings.Repeat("long ", 5000)), delta("c", strings.Repeat("long ", 5000))},
	}
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Breaker: wire.BreakerSettings{Consecutive: 1000, Minimum: 1000}}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: func(_ context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		for _, c := range said[req.ID] {
			emit(c)
		}
		return nil, dispatch.Errorf(dispatch.Truncated, "cut")
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: streams("second", "wrong")})
	for id := range said {
		if r := s.listen(id, hello)().end; r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.Truncated || len(r.Attempts) != 1 {
			t.Errorf("%s: result %+v %+v", id, r, r.Error)
		}
	}
}

func TestWorkerGoesOnAloneOnceWhenNobodyElseCan(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "rules"}})
	s.start(worker.Config{Name: "rules", Local: true}, script{answer: streams("rules", "wrong")})
	s.start(worker.Config{Name: "openai"}, byTurn(
		breaks("first", dispatch.Stalled, "one "), streams("second", "two"),
		breaks("third", dispatch.Truncated, "one "), breaks("fourth", dispatch.Truncated, "two "), streams("fifth", "wrong"),
	))
	if told := s.listen("a", hello)(); told.text != "one two" || told.end.Worker != "openai" || len(told.end.Attempts) != 2 {
		t.Errorf("listener has %q, result %+v %+v", told.text, told.end, told.end.Error)
	}
	told := s.listen("b", hello)()
	if told.end.Status != dispatch.StatusFailed || told.end.Error.Kind != dispatch.Truncated || told.finish != "" || told.text != "one two " {
		t.Errorf("listener has %q, finished by %q, result %+v %+v", told.text, told.finish, told.end, told.end.Error)
	}
}

func TestLocalWorkerThatGetsABrokenAnswerPassesItOn(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup", "rules", "last"}})
	s.start(worker.Config{Name: "openai"}, script{answer: breaks("first", dispatch.Truncated, "one ")})
	// The backup's lane moves to the rules while the broken answer is on its way there.
	handed := make(chan struct{})
	stop := s.start(worker.Config{Name: "backup", Drain: time.Millisecond}, script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		close(handed)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	told := s.listen("a", hello)
	<-handed
	s.own(wire.HandoffLane("backup"), "rules")
	stop()
	s.start(worker.Config{Name: "last"}, script{answer: streams("last", "two")})
	s.start(worker.Config{Name: "rules", Local: true}, script{answer: streams("rules", "wrong")})
	if got := told(); got.text != "one two" || got.end.Worker != "last" {
		t.Errorf("listener has %q, result %+v %+v", got.text, got.end, got.end.Error)
	}
}

func TestRescueGoesDownTheChainUntilAModelFinishes(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "refuses", "anew", "cut", "last"}})
	s.start(worker.Config{Name: "openai"}, script{answer: breaks("first", dispatch.Truncated, "The capital of France, as ", "everybody knows, is")})
	s.start(worker.Config{Name: "refuses"}, script{answer: failsWith(dispatch.Errorf(dispatch.ContextLength, "too long"))})
	s.start(worker.Config{Name: "anew"}, script{answer: streams("third", "The capital of France, as you ", "may know, is Paris")})
	s.start(worker.Config{Name: "cut"}, script{answer: breaks("fourth", dispatch.Stalled, " Paris", ", on")})
	s.start(worker.Config{Name: "last"}, script{answer: says("on the Seine")})
	told := s.listen("a", hello)()
	if want := "The capital of France, as everybody knows, is Paris, on the Seine"; told.text != want || answerText(t, told.end) != want {
		t.Errorf("listener has %q, recorded %s", told.text, told.end.Answer)
	}
	if told.end.Worker != "last" || len(told.end.Attempts) != 5 || !slices.Equal(told.ids, []string{"first"}) {
		t.Errorf("ids %q, result %+v", told.ids, told.end)
	}
}

func TestNobodyLeftIsAFailureOfTheLastKind(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	s.start(worker.Config{Name: "openai"}, script{answer: breaks("first", dispatch.Truncated, "one ")})
	s.start(worker.Config{Name: "backup", Settings: wire.Worker{Retries: zero()}}, script{answer: failsWith(dispatch.Errorf(dispatch.Transient, "down"))})
	told := s.listen("a", hello)()
	if told.end.Status != dispatch.StatusFailed || told.end.Error.Kind != dispatch.Transient || told.finish != "" || told.text != "one " {
		t.Errorf("listener has %q, finished by %q, result %+v %+v", told.text, told.finish, told.end, told.end.Error)
	}
	if l := s.awaitDeadLetters(1); len(l) != 1 || len(l[0].Attempts) != 2 {
		t.Errorf("dead letters %+v", l)
	}
}

func TestAnswerThatItsProviderBreaksOffHasNoEndYet(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	s.start(worker.Config{Name: "openai"}, script{answer: func(_ context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		emit(delta("first", "one "))
		emit(raw("first", `{}`, `"error"`, false))
		return nil, dispatch.Errorf(dispatch.Truncated, "the provider broke the answer off")
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: streams("second", "two")})
	if told := s.listen("a", hello)(); told.text != "one two" || told.finish != "stop" {
		t.Errorf("listener has %q, finished by %q", told.text, told.finish)
	}
}

func TestThoughtsAreNoHindrance(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	thinks := func(id string, then answering) answering {
		return func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
			emit(raw(id, `{"reasoning_content":"hm, "}`, "null", true))
			return then(ctx, req, emit)
		}
	}
	s.start(worker.Config{Name: "openai"}, byTurn(thinks("first", failsWith(dispatch.Errorf(dispatch.Stalled, "quiet"))), thinks("first", breaks("first", dispatch.Stalled, "one "))))
	s.start(worker.Config{Name: "backup"}, byTurn(thinks("second", streams("second", "one two")), thinks("second", streams("second", "two"))))
	for _, id := range []string{"before-the-answer", "within-the-answer"} {
		if told := s.listen(id, hello)(); told.text != "one two" || answerText(t, told.end) != "one two" {
			t.Errorf("%s: listener has %q, result %+v", id, told.text, told.end)
		}
	}
}

func TestDrainInMidStreamIsRescuedByTheReplica(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}, AckWait: wire.Duration(2 * time.Minute)})
	spoke := make(chan struct{})
	stop := s.start(worker.Config{Name: "openai", Drain: time.Millisecond}, script{answer: func(ctx context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		emit(delta("first", "one "))
		close(spoke)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	told := s.listen("a", hello)
	<-spoke
	stop()
	bodies := make(chan string, 1)
	s.start(worker.Config{Name: "openai", Instance: "i2"}, asked(bodies, streams("second", "two")))
	got := told()
	if got.text != "one two" || got.end.Status != dispatch.StatusAnswered || got.end.Attempts[0].Instance != "i2" {
		t.Errorf("listener has %q, result %+v %+v", got.text, got.end, got.end.Error)
	}
	if body := <-bodies; !strings.Contains(body, `"one "`) {
		t.Errorf("asked %s", body)
	}
}

func TestStreamThatStallsIsRescuedAfterItsIdleTime(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Timeouts: wire.Timeouts{FirstToken: wire.Duration(time.Minute), Idle: wire.Duration(50 * time.Millisecond)}}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: func(ctx context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		emit(delta("first", "one "))
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: streams("second", "two")})
	if told := s.listen("a", hello)(); told.text != "one two" || told.end.Attempts[0].Kind != dispatch.Stalled {
		t.Errorf("listener has %q, result %+v", told.text, told.end)
	}
}

func TestForgedBeginningOfAnAnswerIsIgnored(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	s.start(worker.Config{Name: "openai"}, script{answer: failsWith(dispatch.Errorf(dispatch.Malformed, "no"))})
	s.start(worker.Config{Name: "backup"}, script{answer: streams("second", "hello")})
	told := s.listen("a", hello, wire.HeaderEmitted, `{"attempt":"x","chunks":5,"text":"forged"}`)()
	if told.text != "hello" || answerText(t, told.end) != "hello" {
		t.Errorf("listener has %q, recorded %s", told.text, told.end.Answer)
	}
}
