package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func TestWholeAnswerComesAsRecordedWithItsCredit(t *testing.T) {
	h := open(t, plan{pace: seldom})
	jobs := h.jobs()
	replies := h.post(question, "Llm-Request-Id", "mine-1", "Llm-Degrade", "never", "traceparent", "00-x", "Llm-Timeout", "90s")
	j := next(t, jobs)
	if string(j.Body) != question {
		t.Errorf("published %s", j.Body)
	}
	for name, want := range map[string]string{
		wire.HeaderRequestID: "mine-1", wire.HeaderDegrade: "never", wire.HeaderTraceparent: "00-x",
		wire.HeaderReplyTo: h.g.inbox.address("mine-1"), wire.HeaderStreamTo: "", wire.HeaderNatsMsgID: "mine-1",
	} {
		if got := j.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	at, err := time.Parse(time.RFC3339, j.Header.Get(wire.HeaderDeadline))
	if left := time.Until(at); err != nil || left < 60*time.Second || left > 90*time.Second {
		t.Errorf("deadline %v: %v left, %v", at, left, err)
	}
	result := j.answered("hello")
	j.end(result)

	got := next(t, replies)
	want := strings.TrimSuffix(string(result.Answer), "}") + `,"understudy":{"id":"mine-1","worker":"openai","model":"gpt-x","attempts":1,"degraded":false}}`
	if got.StatusCode != http.StatusOK || got.body != want {
		t.Errorf("%d %s\nwant %s", got.StatusCode, got.body, want)
	}
	for name, want := range map[string]string{
		"understudy-request-id": "mine-1", "understudy-worker": "openai", "understudy-model": "gpt-x",
		"understudy-attempts": "1", "understudy-degraded": "false", "x-should-retry": "false", "Content-Type": "application/json",
	} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestFailureKeepsItsStatusAndSaysWhenToComeBack(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	replies := h.post(question)
	j := next(t, jobs)
	j.end(j.failed(wire.Failure{Kind: dispatch.Throttled, Status: 429, Message: "slow down", Type: "rate_limit_error", Code: "rate_limit_exceeded", RetryAfterMS: 1200}))
	got := next(t, replies)
	if got.StatusCode != 429 || got.code(t) != "rate_limit_exceeded" || got.Header.Get("Retry-After") != "2" || got.Header.Get("x-should-retry") != "false" {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
}

func TestLostEndIsFoundInTheRecord(t *testing.T) {
	h := open(t, plan{pace: func(p *pace) { p.poll = 5 * time.Millisecond }})
	jobs := h.jobs()
	replies := h.post(question)
	j := next(t, jobs)
	j.settle(j.answered("hello"))
	if got := next(t, replies); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "hello") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestRequestWithoutAResultEndsAfterItsDeadline(t *testing.T) {
	h := open(t, plan{pace: func(p *pace) { p.grace = time.Millisecond }})
	got := next(t, h.post(question, "Llm-Timeout", "20ms"))
	if got.StatusCode != http.StatusRequestTimeout || got.code(t) != "deadline_exceeded" || got.Header.Get("x-should-retry") != "false" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestBothWhoAskUnderOneIDAreAnswered(t *testing.T) {
	h := open(t, plan{pace: seldom})
	jobs := h.jobs()
	first := h.post(question, "Llm-Request-Id", "same")
	j := next(t, jobs)
	second := h.post(streamed, "Llm-Request-Id", "same")
	waitForBoxes(t, h, "same", 2)
	j.end(j.answered("hello"))
	if got := next(t, first); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "hello") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if v := read(t, next(t, second).body); v.text != "hello" || !v.done {
		t.Errorf("second asker sees %+v", v)
	}
	late := next(t, h.post(question, "Llm-Request-Id", "same"))
	if late.StatusCode != http.StatusOK || !strings.Contains(late.body, "hello") {
		t.Errorf("late asker: %d %s", late.StatusCode, late.body)
	}
}

func TestBadRequestsAreRefusedBeforeTheQueue(t *testing.T) {
	h := open(t, plan{config: Config{MaxBody: 1000}})
	for name, c := range map[string]struct {
		body, header, value string
		status              int
		code, words         string
	}{
		"unknown model":  {body: `{"model":"gpt-9","messages":[{"role":"user"}]}`, status: 404, code: "model_not_found", words: "chat, gpt-5-mini"},
		"model a number": {body: `{"model":9,"messages":[{"role":"user"}]}`, status: 400, code: "invalid_type", words: "model"},
		"invalid JSON":   {body: "{\n \"messages\": [}", status: 400, code: "invalid_json", words: "line 2, column 15"},
		"no messages":    {body: `{}`, status: 400, code: "missing_required_parameter", words: "messages"},
		"oversized":      {body: `{"messages":"` + strings.Repeat("x", 1000) + `"}`, status: 413, code: "request_too_large", words: "1000 bytes"},
		"bad timeout":    {body: question, header: "Llm-Timeout", value: "soon", status: 400, code: "invalid_header", words: "Llm-Timeout"},
		"bad deadline":   {body: question, header: "Llm-Deadline", value: "soon", status: 400, code: "invalid_header", words: "Llm-Deadline"},
		"past deadline":  {body: question, header: "Llm-Deadline", value: "2020-01-01T00:00:00Z", status: 408, code: "deadline_exceeded", words: "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			got := h.do(http.MethodPost, "/v1/chat/completions", c.body, c.header, c.value)
			if got.StatusCode != c.status || got.code(t) != c.code || !strings.Contains(got.body, c.words) || got.Header.Get("x-should-retry") != "" {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
		})
	}
	state, err := h.bus.StreamState(t.Context(), wire.RequestStream("chat"))
	if err != nil || state.Messages != 0 {
		t.Errorf("queue holds %d, %v", state.Messages, err)
	}
}

func TestOversizedBodyOfUnknownLengthIsRefused(t *testing.T) {
	h := open(t, plan{config: Config{MaxBody: 1000}})
	r := h.request(t.Context(), http.MethodPost, "/v1/chat/completions", strings.Repeat("x", 2000))
	r.ContentLength = -1
	resp, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestRequestTheBrokerDoesNotTakeIsTooLarge(t *testing.T) {
	h := open(t, plan{config: Config{MaxBody: 4 << 20}})
	body := strings.Replace(question, "hi", strings.Repeat("x", 1<<20), 1)
	got := h.do(http.MethodPost, "/v1/chat/completions", body)
	if got.StatusCode != http.StatusRequestEntityTooLarge || got.code(t) != "request_too_large" || !strings.Contains(got.body, "1048576 bytes") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestUnconfirmedRequestCanBeAskedForByItsID(t *testing.T) {
	b := bustest.New(t)
	route := wire.Route{Fallbacks: []string{"openai"}}
	if err := errors.Join(b.EnsureRoute(t.Context(), "chat", route), b.SetRoute(t.Context(), "chat", route)); err != nil {
		t.Fatal(err)
	}
	own, err := b.Connect(t.Context(), "gateway")
	if err != nil {
		t.Fatal(err)
	}
	h := enter(t, own, plan{})
	if got := h.do(http.MethodGet, "/readyz", ""); got.StatusCode != 200 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	own.Close()
	got := h.do(http.MethodPost, "/v1/chat/completions", `{"messages":[{"role":"user"}]}`, "Llm-Request-Id", "lost-1")
	if got.StatusCode != 503 || got.code(t) != "outcome_unknown" || got.Header.Get("understudy-request-id") != "lost-1" || !strings.Contains(got.body, "/v1/requests/lost-1") {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	if got := h.do(http.MethodGet, "/readyz", ""); got.StatusCode != 503 || !strings.Contains(got.body, "broker") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got := h.do(http.MethodGet, "/v1/requests/lost-1", ""); got.StatusCode != 503 || got.code(t) != "broker_unavailable" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestFullQueueSendsCallersAwayForASecond(t *testing.T) {
	h := open(t, plan{route: wire.Route{MaxBytes: 2048}})
	var got reply
	for n := 0; n < 30 && got.Response == nil; n++ {
		r := h.do(http.MethodPost, "/v1/async/chat/completions", question)
		if r.StatusCode != http.StatusAccepted {
			got = r
		}
	}
	if got.Response == nil || got.StatusCode != 503 || got.code(t) != "queue_full" || got.Header.Get("Retry-After") != "1" || got.Header.Get("x-should-retry") != "" {
		t.Errorf("full queue: %+v", got)
	}
}

func TestCallerThatHangsUpCancels(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	told := make(chan string, 1)
	stop, err := h.bus.Listen(wire.SubjectsCancel, "", func(m bus.Message) { told <- m.Subject })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := h.client.Do(h.request(ctx, http.MethodPost, "/v1/chat/completions", question)); err == nil {
			resp.Body.Close()
			t.Error("answered a caller that hung up")
		}
	}()
	j := next(t, jobs)
	hangUp()
	<-gone
	if subject := next(t, told); subject != wire.CancelSubject(j.id) {
		t.Errorf("told %s", subject)
	}
	if r, err := h.bus.Result(t.Context(), "", j.id); err != nil || r.Status != dispatch.StatusCancelled || r.Error.Kind != dispatch.Cancelled {
		t.Errorf("recorded %+v, %v", r, err)
	}
}

func TestHangingUpLeavesAnothersRequestAlone(t *testing.T) {
	for name, other := range map[string]func(*house){
		"who waits": func(h *house) { h.post(question, "Llm-Request-Id", "shared"); waitForBoxes(h.t, h, "shared", 2) },
		"who comes back": func(h *house) {
			h.do(http.MethodPost, "/v1/async/chat/completions", question, "Llm-Request-Id", "shared")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, plan{})
			jobs := h.jobs()
			ctx, hangUp := context.WithCancel(t.Context())
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if resp, err := h.client.Do(h.request(ctx, http.MethodPost, "/v1/chat/completions", question, "Llm-Request-Id", "shared")); err == nil {
					resp.Body.Close()
				}
			}()
			j := next(t, jobs)
			other(h)
			hangUp()
			<-gone
			eventually(t, func() bool {
				return strings.Contains(h.do(http.MethodGet, "/metrics", "").body, `requests_total{route="chat",status="cancelled"} 1`)
			})
			j.end(j.answered("hello"))
			if r, err := h.bus.Result(t.Context(), "", "shared"); err != nil || r.Status != dispatch.StatusAnswered {
				t.Errorf("recorded %+v, %v", r, err)
			}
		})
	}
}

func TestCancelOverNATSEndsAWaitingRequest(t *testing.T) {
	h := open(t, plan{pace: seldom})
	jobs := h.jobs()
	replies := h.post(question)
	j := next(t, jobs)
	if err := h.bus.Send(wire.CancelSubject(j.id), nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := next(t, replies); got.StatusCode != 499 || got.code(t) != "cancelled" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	replies := h.post(question)
	j := next(t, jobs)
	h.stop()
	refused := func() bool {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(h.url("/healthz"))
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	}
	eventually(t, refused)
	j.end(j.answered("hello"))
	if got := next(t, replies); got.StatusCode != http.StatusOK {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if err := next(t, h.ended); err != nil {
		t.Errorf("run: %v", err)
	}
	h.ended <- nil
}

func TestStoppingGatewayLeavesRequestsInTheirQueue(t *testing.T) {
	h := open(t, plan{config: Config{Drain: time.Millisecond}})
	jobs := h.jobs()
	replies := h.post(question)
	j := next(t, jobs)
	h.stop()
	if got := next(t, replies); got.StatusCode != 503 || got.code(t) != "gateway_stopping" || !strings.Contains(got.body, j.id) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	next(t, h.ended)
	h.ended <- nil
	if r, err := h.bus.Result(t.Context(), "", j.id); err == nil {
		t.Errorf("recorded %+v", r)
	}
}

func TestKeyOpensTheDoorAndNothingElseDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("first-key\n\nsecond-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := open(t, plan{config: Config{APIKeysFile: file}})
	for authorization, want := range map[string]int{
		"": 401, "Bearer wrong": 401, "Bearer ": 401, "Basic first-key": 401, "Bearer first-key": 200, "bearer second-key": 200,
	} {
		got := h.do(http.MethodGet, "/v1/models", "", "Authorization", authorization)
		if got.StatusCode != want {
			t.Errorf("%q: %d %s", authorization, got.StatusCode, got.body)
		}
		if want == 401 && got.code(t) != "invalid_api_key" {
			t.Errorf("%q: %s", authorization, got.body)
		}
	}
	if got := h.do(http.MethodGet, "/healthz", ""); got.StatusCode != 200 {
		t.Errorf("/healthz needs a key: %d", got.StatusCode)
	}
}

func TestUnsafeSettingsAreRefusedByName(t *testing.T) {
	b := bustest.New(t)
	empty := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, config := range map[string]Config{
		"UNDERSTUDY_HTTP_API_KEYS_FILE to a file": {Addr: "0.0.0.0:0"},
		"reachable from other machines":           {Addr: ":0"},
		"holds no key":                            {Addr: "127.0.0.1:0", APIKeysFile: empty},
		"no such file":                            {Addr: "127.0.0.1:0", APIKeysFile: empty + "-not"},
		"want host:port":                          {Addr: "8080"},
		"UNDERSTUDY_HTTP_MAX_BODY":                {Addr: "127.0.0.1:0", MaxBody: -1},
	} {
		if _, err := New(config, b, zerolog.Nop(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v, want %q", config, err, words)
		}
	}
}

func TestEverythingElseIsAnsweredInOpenAIsShape(t *testing.T) {
	h := open(t, plan{})
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{http.MethodGet, "/v1/nothing", 404, "unknown_url"},
		{http.MethodGet, "/v1/chat/completions", 405, "method_not_allowed"},
		{http.MethodPut, "/v1/requests/x", 405, "method_not_allowed"},
		{http.MethodGet, "/v1/models/gpt-9", 404, "model_not_found"},
		{http.MethodGet, "/v1/requests/nobody", 404, "request_not_found"},
		{http.MethodGet, "/v1/requests/no.body", 404, "request_not_found"},
	} {
		if got := h.do(c.method, c.path, ""); got.StatusCode != c.status || got.code(t) != c.code {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.StatusCode, got.body)
		}
	}
	if got := h.do(http.MethodGet, "/v1/models", ""); !strings.Contains(got.body, `"id":"chat"`) || !strings.Contains(got.body, `"id":"gpt-5-mini"`) {
		t.Errorf("models: %s", got.body)
	}
	if got := h.do(http.MethodGet, "/v1/models/gpt-5-mini", ""); got.StatusCode != 200 || !strings.Contains(got.body, `"object":"model"`) {
		t.Errorf("model: %d %s", got.StatusCode, got.body)
	}
}

func TestReadyOnceARouteIsKnown(t *testing.T) {
	b := bustest.New(t)
	h := enter(t, b, plan{})
	if got := h.do(http.MethodGet, "/readyz", ""); got.StatusCode != 503 || !strings.Contains(got.body, "no route") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got := next(t, h.post(question)); got.StatusCode != 503 || got.code(t) != "no_route" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if err := b.SetRoute(t.Context(), "code", wire.Route{Fallbacks: []string{"openai"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return h.do(http.MethodGet, "/readyz", "").StatusCode == 200 })
}

func TestMetricsTellHowRequestsEnded(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	replies := h.post(streamed)
	j := next(t, jobs)
	j.says(0, "hello")
	j.end(j.answered("hello"))
	next(t, replies)
	got := h.do(http.MethodGet, "/metrics", "")
	for _, want := range []string{
		`understudy_gateway_requests_total{route="chat",status="answered"} 1`,
		`understudy_gateway_request_seconds_count{route="chat"} 1`,
		`understudy_gateway_time_to_first_token_seconds_count{route="chat"} 1`,
		`understudy_gateway_waiting 0`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestPanicBecomesAnError(t *testing.T) {
	h := open(t, plan{})
	h.g.log = zerolog.Nop()
	server := http.NewServeMux()
	server.Handle("/", h.g.serve(zerolog.InfoLevel, true, func(*exchange, *http.Request) { panic("secret") }))
	recorder := httptest.NewRecorder()
	server.ServeHTTP(recorder, h.request(t.Context(), http.MethodGet, "/", ""))
	got := reply{recorder.Result(), recorder.Body.String()}
	if got.StatusCode != 500 || got.code(t) != "internal_error" || strings.Contains(got.body, "secret") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestModelsOfSeveralRoutesLeadWhereTheyShould(t *testing.T) {
	routes := map[string]wire.Route{"b": {Models: []string{"m", "a"}}, "a": {Models: []string{"m", "n"}}}
	l := list(routes, nil)
	for model, want := range map[string]string{"a": "a", "b": "b", "m": "a", "n": "a"} {
		if got, failure := l.route(model); failure != nil || got != want {
			t.Errorf("%s leads to %q, %v", model, got, failure)
		}
	}
	if _, failure := l.route(""); failure == nil || failure.Status != 400 || !strings.Contains(failure.Message, "a, b, m, n") {
		t.Errorf("no model: %v", failure)
	}
	routes["chat"] = wire.Route{}
	if got, failure := list(routes, nil).route(""); failure != nil || got != "chat" {
		t.Errorf("no model leads to %q, %v", got, failure)
	}
}

func TestPatienceIsTheCallersWithinTheRoutes(t *testing.T) {
	now := time.Unix(0, 0).UTC()
	route := wire.Route{Timeout: wire.Duration(time.Minute), TimeoutMax: wire.Duration(time.Hour)}
	for name, c := range map[string]struct {
		timeout, deadline string
		want              time.Duration
	}{
		"the route's":      {want: time.Minute},
		"a timeout":        {timeout: "90s", want: 90 * time.Second},
		"a deadline":       {deadline: "1970-01-01T00:00:30Z", want: 30 * time.Second},
		"a long timeout":   {timeout: "25h", want: time.Hour},
		"a late deadline":  {deadline: "1971-01-01T00:00:00Z", want: time.Hour},
		"both, the moment": {timeout: "90s", deadline: "1970-01-01T00:00:30Z", want: 30 * time.Second},
	} {
		at, failure := deadline(route, now, func(name string) string {
			return map[string]string{wire.HeaderTimeout: c.timeout, wire.HeaderDeadline: c.deadline}[name]
		})
		if failure != nil || at.Sub(now) != c.want {
			t.Errorf("%s: %v, %v", name, at.Sub(now), failure)
		}
	}
}

func TestRecordIsReadEverMoreSeldomAndOftenAfterTheDeadline(t *testing.T) {
	start := time.Unix(0, 0)
	p := poller{pace: usualPace(), deadline: start.Add(20 * time.Second)}
	p.news(start)
	var at []string
	for {
		at = append(at, fmt.Sprint(p.at.Sub(start)))
		if p.next(p.at) {
			break
		}
	}
	if got, want := strings.Join(at, " "), "1s 3s 7s 15s 20s 21s 22s 23s 24s 25s"; got != want {
		t.Errorf("polls at %s, want %s", got, want)
	}
}
