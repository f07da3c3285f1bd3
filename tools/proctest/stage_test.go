package proctest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

const (
	route = "chat"
	// look is how often something is looked at that has no event of its own.
	look = 20 * time.Millisecond
)

// configuration writes a configuration file and returns its name.
func configuration(t *testing.T, c wire.Config) string {
	t.Helper()
	data, err := json.MarshalIndent(c, "", "  ") // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// asks returns a worker that asks a fake provider and gives up quickly.
func asks(provider *fake.Server, concurrency int64) wire.Worker {
	none := int64(0)
	return wire.Worker{
		Kind: wire.WorkerKindOpenai, BaseURL: provider.URL() + "/v1", Concurrency: concurrency, Retries: &none,
		Breaker: wire.BreakerSettings{Consecutive: 3, Open: ms(200), OpenMax: ms(400)},
	}
}

func ms(n int) wire.Duration { return wire.Duration(time.Duration(n) * time.Millisecond) }

// fakeProvider runs in this process, so that it outlives the others.
func fakeProvider(t *testing.T, o fake.Options) *fake.Server {
	t.Helper()
	s, err := fake.Start(":0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// home is the environment of a process with the embedded broker.
func home(config, data string, services string) settings {
	return settings{
		"UNDERSTUDY_CONFIG": config, "UNDERSTUDY_DATA_DIR": data, "UNDERSTUDY_SERVICES": services,
		"UNDERSTUDY_NATS_LISTEN": "127.0.0.1:0", "UNDERSTUDY_HTTP_ADDR": "127.0.0.1:0",
	}
}

// guest is the environment of a process on the broker of another.
func guest(broker info, more settings) settings {
	env := settings{"UNDERSTUDY_NATS_URL": broker.NATS, "UNDERSTUDY_HTTP_ADDR": "127.0.0.1:0"}
	maps.Copy(env, more)
	return env
}

// stage is a client of the running processes.
type stage struct {
	*testing.T
	at     info
	bus    *bus.Bus
	client *http.Client
}

func enter(t *testing.T, at info) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := bus.Open(ctx, bus.Config{URL: at.NATS, Name: "proctest"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{T: t, at: at, bus: b, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: patience}}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		b.Close()
	})
	return s
}

func (s *stage) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.Context(), patience)
}

func question(model, text string) []byte {
	return fmt.Appendf(nil, `{"model":%q,"messages":[{"role":"user","content":%q}]}`, model, text)
}

// publish puts a request into the queue, the way any NATS client does.
func (s *stage) publish(id string, body []byte) {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	if _, err := s.bus.Publish(ctx, wire.RequestSubject(route), id, bus.Header{wire.HeaderRequestID: {id}}, body); err != nil {
		s.Fatal(err)
	}
}

// publishAll publishes n requests and returns their ids.
func (s *stage) publishAll(prefix string, n int) []string {
	s.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%d", prefix, i)
		s.publish(ids[i], question("m", "hello"))
	}
	return ids
}

// reply is what a caller over HTTP sees.
type reply struct {
	status int
	header http.Header
	body   string
}

// post sends a body to the gateway; headers are name, value, name, value.
func (s *stage) post(ctx context.Context, path string, body []byte, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.at.HTTP+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(text)}, err
}

// ask posts a chat completion and returns the reply, whatever it is.
func (s *stage) ask(body []byte, headers ...string) reply {
	s.Helper()
	r, err := s.post(s.Context(), "/v1/chat/completions", body, headers...)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// answeredBy asks and wants an answer; it returns who gave it.
func (s *stage) answeredBy(text string) string {
	s.Helper()
	r := s.ask(question("m", text))
	if r.status != http.StatusOK {
		s.Fatalf("%q: %d %s", text, r.status, r.body)
	}
	return r.header.Get("Understudy-Worker")
}

// await waits for a request's recorded end.
func (s *stage) await(id string) wire.Result {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	r, err := s.bus.AwaitResult(ctx, wire.DurabilityStrict, id)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// until looks until ok.
func (s *stage) until(what string, ok func() bool) {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			s.Fatalf("waited %v: %s", patience, what)
		case <-tick.C:
		}
	}
}

func (s *stage) fill(stream string) bus.StreamState {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	state, err := s.bus.StreamState(ctx, stream)
	if err != nil {
		s.Fatal(err)
	}
	return state
}

// allAnswered waits until nothing is on its way, and wants each request
// answered, and no end recorded over another.
func (s *stage) allAnswered(ids []string) {
	s.Helper()
	for _, id := range ids {
		if r := s.await(id); r.Status != dispatch.StatusAnswered {
			s.Errorf("%s ended as %s: %+v %+v", id, r.Status, r.Error, r.Attempts)
		}
	}
	s.until("the queues to run empty", func() bool {
		return s.fill(wire.RequestStream(route)).Messages == 0 && s.fill(wire.StreamRetries).Messages == 0
	})
	s.endedOnce()
}

// endedOnce wants every recorded end to be the first of its request.
func (s *stage) endedOnce() {
	s.Helper()
	if r := s.fill("KV_" + wire.ResultsBucket(wire.DurabilityStrict)); r.Last != r.Messages {
		s.Errorf("%d results were written %d times", r.Messages, r.Last)
	}
}

// deadLetters lists the dead letters.
func (s *stage) deadLetters() []bus.KeptDeadLetter {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	var all []bus.KeptDeadLetter
	if err := s.bus.DeadLetters(ctx, 0, func(l bus.KeptDeadLetter) bool { all = append(all, l); return true }); err != nil {
		s.Fatal(err)
	}
	return all
}

// owned waits until every numbered lane belongs to the worker.
func (s *stage) owned(worker string) {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	owners, all := map[string]string{}, false
	err := s.bus.WatchOwners(ctx, func(e bus.Entry[wire.Ownership]) {
		owners[e.Key] = e.Value.Worker
		for n := range wire.Lanes {
			if owners[wire.NumberedLane(n).OwnerKey(route)] != worker {
				return
			}
		}
		all = true
		cancel()
	})
	if err != nil || !all {
		s.Fatalf("lanes do not all belong to %s: %v %v", worker, owners, err)
	}
}

// seen waits until the provider's counts are as wanted.
func (s *stage) seen(p *fake.Server, what string, ok func(fake.Stats) bool) {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	if err := p.Wait(ctx, ok); err != nil {
		s.Fatalf("provider: %s: %v, has %+v", what, err, p.Stats())
	}
}
