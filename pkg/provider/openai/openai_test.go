package openai_test

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/provider/openai"
)

// endpoint is a scripted server that keeps the bodies it was sent and counts
// its connections.
type endpoint struct {
	*httptest.Server
	mu          sync.Mutex
	bodies      []string
	connections int
}

func newEndpoint(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string)) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		e.mu.Lock()
		e.bodies = append(e.bodies, string(body))
		e.mu.Unlock()
		answer(w, r, string(body))
	}))
	e.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			e.mu.Lock()
			e.connections++
			e.mu.Unlock()
		}
	}
	e.Start()
	t.Cleanup(e.Close)
	return e
}

// always answers every call with the same events.
func always(events ...string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) { say(w, events...) }
}

func say(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, strings.Join(events, "")) // a client that has left is none of our business
}

// sent returns the bodies that came since the last look.
func (e *endpoint) sent() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	bodies := e.bodies
	e.bodies = nil
	return bodies
}

func connect(t *testing.T, e *endpoint, c openai.Config) *openai.Provider {
	t.Helper()
	if c.BaseURL == "" {
		c.BaseURL = e.URL + "/v1"
	}
	if c.HTTPClient == nil {
		c.HTTPClient = e.Client()
	}
	p, err := openai.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func call(t *testing.T, p *openai.Provider, body string, listened bool) (*dispatch.Answer, []string, error) {
	t.Helper()
	var chunks []string
	answer, err := p.Answer(t.Context(), &dispatch.Request{ID: "r", Body: []byte(body), Stream: listened}, func(c dispatch.Chunk) {
		chunks = append(chunks, string(c.Data))
	})
	return answer, chunks, err
}

const hello = `{"messages":[{"role":"user","content":"hi"}], "x" : 1.50,"model":"theirs"}`

var (
	begin = protocol{}.Begin()
	yes   = protocol{}.Piece("yes")
	done  = protocol{}.End()
)

func TestCallStreamsEvenWhenNobodyListensAndTouchesNothingElse(t *testing.T) {
	e := newEndpoint(t, always(begin, yes, finish("stop"), usage, done))
	if _, _, err := call(t, connect(t, e, openai.Config{Model: "ours"}), hello, false); err != nil {
		t.Fatal(err)
	}
	want := `{"messages":[{"role":"user","content":"hi"}], "x" : 1.50,"model":"ours","stream":true,"stream_options":{"include_usage":true}}`
	if got := e.sent(); len(got) != 1 || got[0] != want {
		t.Errorf("sent %s", got)
	}
}

func TestAsAskedStreamsOnlyForAListener(t *testing.T) {
	e := newEndpoint(t, always(begin, yes, finish("stop"), done))
	p := connect(t, e, openai.Config{Streaming: openai.AsAsked})
	for listened, want := range map[bool]string{
		true:  `{"stream":true,"messages":[],"stream_options":{"include_usage":true}}`,
		false: `{"messages":[]}`,
	} {
		if _, _, err := call(t, p, `{"stream":true,"messages":[],"stream_options":{"include_usage":true}}`, listened); err != nil {
			t.Fatal(err)
		}
		if got := e.sent(); len(got) != 1 || got[0] != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
}

func TestUsageChunkGoesOnlyToWhoAsked(t *testing.T) {
	e := newEndpoint(t, always(begin, yes, finish("stop"), usage, done))
	p := connect(t, e, openai.Config{})
	for options, want := range map[string]int{
		`{"include_usage":true}`: 4, `{"include_usage":false,"include_obfuscation":false}`: 3, `{}`: 3, `null`: 3, `"odd"`: 3,
	} {
		answer, chunks, err := call(t, p, `{"messages":[],"stream_options":`+options+`}`, true)
		if err != nil || len(chunks) != want || answer.Usage.Output != 2 {
			t.Errorf("%s: %d chunks, %v, %v", options, len(chunks), answer, err)
		}
		got := chat.Get([]byte(e.sent()[0]), "stream_options")
		if string(chat.Get(got, "include_usage")) != "true" || strings.Contains(options, "obfuscation") && chat.Get(got, "include_obfuscation") == nil {
			t.Errorf("%s was sent as %s", options, got)
		}
	}
}

// refusing answers like an endpoint that does not know some parameters.
func refusing(params ...string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, body string) {
		for _, param := range params {
			if chat.Get([]byte(body), param) != nil {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"error":{"message":"unknown","param":"`+param+`","code":"unsupported_parameter"}}`)
				return
			}
		}
		if chat.Get([]byte(body), "stream") != nil {
			say(w, begin, yes, finish("stop"), done)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, protocol{}.Whole("yes"))
	}
}

func TestRefusedStreamOptionsAreLearntPerModel(t *testing.T) {
	e := newEndpoint(t, refusing("stream_options"))
	p := connect(t, e, openai.Config{})
	for model, calls := range map[string][]int{"a": {2, 1, 1}, "b": {2, 1}} {
		for i, want := range calls {
			answer, chunks, err := call(t, p, `{"messages":[],"model":"`+model+`"}`, true)
			if err != nil || len(chunks) != 3 || answer.Model != "m-2" {
				t.Fatalf("%v, %v, %v", answer, chunks, err)
			}
			sent := e.sent()
			if len(sent) != want || chat.Text([]byte(sent[len(sent)-1]), "model") != model || string(chat.Get([]byte(sent[len(sent)-1]), "stream")) != "true" {
				t.Errorf("call %d of model %s: sent %s", i, model, sent)
			}
		}
	}
}

func TestRefusedStreamingIsLearnt(t *testing.T) {
	e := newEndpoint(t, refusing("stream_options", "stream"))
	p := connect(t, e, openai.Config{Model: "m"})
	for _, want := range []int{3, 1} {
		answer, chunks, err := call(t, p, hello, true)
		if err != nil || len(chunks) == 0 || answer.Usage.Input != 7 {
			t.Fatalf("%v, %v, %v", answer, chunks, err)
		}
		if sent := e.sent(); len(sent) != want {
			t.Errorf("sent %s", sent)
		}
	}
}

func TestOneCallersOptionsTeachNothingAboutTheModel(t *testing.T) {
	e := newEndpoint(t, refusing("stream_options"))
	p := connect(t, e, openai.Config{Model: "m"})
	for range 2 {
		if _, _, err := call(t, p, `{"messages":[],"stream_options":{"odd":1}}`, true); err != nil {
			t.Fatal(err)
		}
		if sent := e.sent(); len(sent) != 2 {
			t.Errorf("sent %s", sent)
		}
	}
}

func TestRefusalThatPersistsIsReturnedAsItCame(t *testing.T) {
	e := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"no","type":"invalid_request_error","param":"stream_options","code":"c"}}`)
	})
	_, _, err := call(t, connect(t, e, openai.Config{}), hello, true)
	got := dispatch.AsError(err)
	if got.Kind != dispatch.BadRequest || got.Message != "no" || got.Type != "invalid_request_error" || got.Param != "stream_options" || got.Code != "c" || got.Status != 400 {
		t.Errorf("%#v", got)
	}
	if sent := e.sent(); len(sent) != 2 {
		t.Errorf("sent %s", sent)
	}
}

func TestStreamsInOddFormsAreRead(t *testing.T) {
	plain := begin + yes + finish("stop") + done
	for name, events := range map[string]string{
		"CRLF":              strings.ReplaceAll(plain, "\n", "\r\n"),
		"byte order mark":   "\ufeff" + plain,
		"no space":          strings.ReplaceAll(plain, "data: ", "data:"),
		"named events":      strings.ReplaceAll(plain, "data: ", "id: 7\nevent: message\ndata: "),
		"pings":             "event: ping\ndata: {\"type\":\"ping\"}\n\n" + plain,
		"several lines":     strings.ReplaceAll(plain, `,"object"`, ",\ndata: \"object\""),
		"no blank line":     begin + yes + strings.TrimSuffix(finish("stop"), "\n"),
		"no newline at all": begin + yes + strings.TrimSpace(finish("stop")),
		"half a marker":     begin + yes + finish("stop") + "data: [DO",
		"null error":        strings.ReplaceAll(plain, `"model"`, `"error":null,"model"`),
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, always(events))
			p := connect(t, e, openai.Config{})
			answer, chunks, err := call(t, p, hello, true)
			if err != nil || len(chunks) != 3 || !strings.Contains(string(answer.Body), `"content":"yes"`) {
				t.Errorf("%v, %v", chunks, err)
			}
			if p.Skipped() != 0 {
				t.Errorf("%d events skipped", p.Skipped())
			}
		})
	}
}

func TestSkippedEventsAreCounted(t *testing.T) {
	e := newEndpoint(t, always(begin, "data: {\n\n", yes, "data: []\n\n", finish("stop"), done))
	p := connect(t, e, openai.Config{})
	if _, _, err := call(t, p, hello, true); err != nil || p.Skipped() != 2 {
		t.Errorf("%d skipped, %v", p.Skipped(), err)
	}
}

func TestFinishReasonsThatMeanFailure(t *testing.T) {
	for _, c := range []struct {
		events []string
		want   dispatch.Kind
	}{
		{[]string{begin, finish("content_filter"), done}, dispatch.ContentFilter},
		{[]string{begin, yes, finish("content_filter"), done}, ""},
		{[]string{begin, finish("stop"), done}, ""},
		{[]string{begin, yes, finish("length"), done}, ""},
		{[]string{begin, yes, finish("error"), done}, dispatch.Truncated},
		{[]string{begin, yes, finish("insufficient_system_resource"), done}, dispatch.Truncated},
		{[]string{begin, yes, "event: error\ndata: {\"message\":\"x\",\"code\":\"rate_limit_exceeded\"}\n\n"}, dispatch.Throttled},
	} {
		e := newEndpoint(t, always(c.events...))
		if _, _, err := call(t, connect(t, e, openai.Config{}), hello, true); dispatch.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.events, err, c.want)
		}
	}
}

func TestStreamThatEndsBeforeEveryChoiceHasComeIsTruncated(t *testing.T) {
	body := strings.Replace(hello, `{`, `{"n":2,`, 1)
	e := newEndpoint(t, always(begin, yes, finish("stop")))
	if _, _, err := call(t, connect(t, e, openai.Config{}), body, true); dispatch.KindOf(err) != dispatch.Truncated {
		t.Error(err)
	}
}

// lastRead is a transport that notes whether each body was read to its end. The
// end of a body never comes along with its last word.
type lastRead struct {
	http.RoundTripper
	ends int
}

func (l *lastRead) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &watchedBody{Reader: io.MultiReader(resp.Body, strings.NewReader("")), Closer: resp.Body, transport: l}
	}
	return resp, err
}

type watchedBody struct {
	io.Reader
	io.Closer
	transport *lastRead
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		b.transport.ends++
	}
	return n, err
}

func TestBodiesAreReadToTheEndSoThatConnectionsAreUsedAgain(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request, string){
		"streams": always(begin, yes, finish("stop"), done),
		"failures": func(w http.ResponseWriter, _ *http.Request, _ string) {
			http.Error(w, strings.Repeat("no ", 9000), 500)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, answer)
			transport := &lastRead{RoundTripper: e.Client().Transport}
			p := connect(t, e, openai.Config{HTTPClient: &http.Client{Transport: transport}})
			for range 10 {
				_, _, _ = call(t, p, hello, true) // what comes of it is another test's
			}
			if transport.ends != 10 {
				t.Errorf("%d of 10 bodies were read to the end", transport.ends)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.connections != 1 {
				t.Errorf("%d connections for 10 calls", e.connections)
			}
		})
	}
}

func TestAnswerDoesNotWaitForAConnectionHeldOpenAfterTheEndMarker(t *testing.T) {
	left := make(chan struct{})
	e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		say(w, begin, yes, finish("stop"), done)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	})
	if _, _, err := call(t, connect(t, e, openai.Config{}), hello, true); err != nil {
		t.Error(err)
	}
	<-left
}

func TestRedirectWithinTheHostIsFollowed(t *testing.T) {
	e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.URL.Path != "/v2/chat/completions" {
			http.Redirect(w, r, "/v2/chat/completions", http.StatusPermanentRedirect)
			return
		}
		say(w, begin, yes, finish("stop"), done)
	})
	if _, _, err := call(t, connect(t, e, openai.Config{}), hello, true); err != nil {
		t.Error(err)
	}
	if sent := e.sent(); len(sent) != 2 || sent[0] != sent[1] {
		t.Errorf("sent %s", sent)
	}
}

func TestHeadersAndQueryOfTheConfigurationAreSentAndKeptSecret(t *testing.T) {
	e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Header.Get("Api-Key") != "azure-secret" || r.URL.Query().Get("api-version") != "7" || r.URL.Path != "/openai/chat/completions" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s with %v", r.URL, r.Header)
		}
		http.Error(w, "denied to azure-secret", http.StatusForbidden)
	})
	p := connect(t, e, openai.Config{BaseURL: e.URL + "/openai?api-version=7", Headers: map[string]string{"api-key": "azure-secret"}})
	if _, _, err := call(t, p, hello, true); dispatch.AsError(err).Message != "denied to [redacted]" {
		t.Error(err)
	}
	e.Close()
	if _, _, err := call(t, p, hello, true); dispatch.KindOf(err) != dispatch.Transient || strings.Contains(err.Error(), "api-version") {
		t.Error(err)
	}
}

func TestKeyIsTrimmedAndSentAsBearer(t *testing.T) {
	e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Header.Get("Authorization") != "Bearer sk-1" {
			t.Errorf("%q", r.Header.Get("Authorization"))
		}
		say(w, begin, yes, finish("stop"), done)
	})
	if _, _, err := call(t, connect(t, e, openai.Config{APIKey: "sk-1\n"}), hello, true); err != nil {
		t.Error(err)
	}
}

func TestUntrustedCertificateIsTransient(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	p, err := openai.New(openai.Config{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := call(t, p, hello, true); dispatch.KindOf(err) != dispatch.Transient {
		t.Error(err)
	}
}

func TestBodyThatIsNoObjectIsABadRequestAndNotSent(t *testing.T) {
	e := newEndpoint(t, always())
	if _, _, err := call(t, connect(t, e, openai.Config{}), `[1]`, true); dispatch.KindOf(err) != dispatch.BadRequest {
		t.Error(err)
	}
	if sent := e.sent(); sent != nil {
		t.Errorf("sent %s", sent)
	}
}

func TestProbeAsksForTheLeastAndLearnsTheNewName(t *testing.T) {
	e := newEndpoint(t, refusing("max_tokens"))
	p := connect(t, e, openai.Config{Model: "m"})
	for _, want := range []int{2, 1} {
		if err := p.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		sent := e.sent()
		last := []byte(sent[len(sent)-1])
		if len(sent) != want || chat.Get(last, "max_completion_tokens") == nil || chat.Text(last, "model") != "m" {
			t.Errorf("sent %s", sent)
		}
	}
}

func TestProbeWithoutAModelAsksForTheOneThatAnsweredLast(t *testing.T) {
	e := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, body string) {
		if chat.Get([]byte(body), "model") == nil {
			http.Error(w, `{"error":{"message":"you must provide a model"}}`, http.StatusBadRequest)
			return
		}
		say(w, begin, yes, finish("stop"), done)
	})
	p := connect(t, e, openai.Config{})
	if err := p.Probe(t.Context()); err != nil {
		t.Errorf("an endpoint that takes the key and misses the model is alive: %v", err)
	}
	if _, _, err := call(t, p, hello, true); err != nil {
		t.Fatal(err)
	}
	e.sent()
	if err := p.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if sent := e.sent(); len(sent) != 1 || chat.Text([]byte(sent[0]), "model") != "theirs" || string(chat.Get([]byte(sent[0]), "max_tokens")) != "1" {
		t.Errorf("sent %s", sent)
	}
}

func TestConfigurationErrorsNameTheField(t *testing.T) {
	for field, c := range map[string]openai.Config{
		"base_url is missing":   {},
		"base_url is no http":   {BaseURL: "api.openai.com/v1"},
		"configure mine: base_": {Name: "mine", BaseURL: "ftp://x"},
		"streaming \"never\"":   {BaseURL: "http://x", Streaming: "never"},
		"max_answer":            {BaseURL: "http://x", MaxAnswer: -1},
	} {
		if _, err := openai.New(c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestAnswerWithToolCallsIsAssembled(t *testing.T) {
	e := newEndpoint(t, always(
		begin,
		chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}}`),
		chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}`),
		finish("tool_calls"), done))
	answer, _, err := call(t, connect(t, e, openai.Config{}), hello, false)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Choices []struct {
			Message struct {
				ToolCalls []struct {
					ID       string
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			}
		}
	}
	if err := json.Unmarshal(answer.Body, &got); err != nil {
		t.Fatal(err)
	}
	if c := got.Choices[0].Message.ToolCalls; len(c) != 1 || c[0].ID != "t" || c[0].Function.Name != "f" || c[0].Function.Arguments != "{}" {
		t.Errorf("%s", answer.Body)
	}
}
