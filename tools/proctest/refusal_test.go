package proctest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

func TestRefusalsSayWhatIsWrong(t *testing.T) {
	provider := fakeProvider(t, fake.Options{Name: "primary"})
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(provider, 8)},
		Routes: map[string]wire.Route{
			route:  {Fallbacks: []string{"primary"}, Models: []string{"m"}},
			"code": {Fallbacks: []string{"primary"}, Models: []string{"coder"}},
		},
	})
	_, at := start(t, "standalone", home(config, t.TempDir(), ""))
	s := enter(t, at)

	for name, c := range map[string]struct {
		body   []byte
		status int
		says   string
	}{
		"not JSON":       {[]byte(`{"model":"m","messages": oops}`), http.StatusBadRequest, "JSON"},
		"no messages":    {[]byte(`{"model":"m"}`), http.StatusBadRequest, "messages"},
		"unknown model":  {question("no-such-model", "hello"), http.StatusNotFound, "no-such-model"},
		"too large body": {question("m", strings.Repeat("x", 2<<20)), http.StatusRequestEntityTooLarge, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := s.post(t.Context(), "/v1/chat/completions", c.body)
			if err != nil || r.status != c.status || !strings.Contains(r.body, `"error"`) || !strings.Contains(r.body, c.says) {
				t.Errorf("%+v %v, want %d and %q", r, err, c.status, c.says)
			}
		})
	}

	t.Run("not JSON over NATS", func(t *testing.T) {
		s.publish("broken", []byte(`{"messages": oops}`))
		if r := s.await("broken"); r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.BadRequest || !strings.Contains(r.Error.Message, "JSON") {
			t.Errorf("%+v %+v", r, r.Error)
		}
	})
	t.Run("too large over NATS", func(t *testing.T) {
		_, err := s.bus.Publish(t.Context(), wire.RequestSubject(route), "large", nil, question("m", strings.Repeat("x", 2<<20)))
		if !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("%v, want ErrTooLarge", err)
		}
	})
	t.Run("unknown route over NATS", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.bus.Publish(ctx, wire.RequestSubject("nope"), "nope", nil, question("m", "hello")); err == nil {
			t.Error("a request to an unknown route was acknowledged")
		}
		if _, err := s.bus.Ask(t.Context(), wire.RequestSubject("nope"), nil, question("m", "hello")); !errors.Is(err, bus.ErrNoAnswer) {
			t.Errorf("%v, want ErrNoAnswer at once", err)
		}
	})
	if calls := provider.Stats().Total; calls != 0 {
		t.Errorf("the provider was asked %d times", calls)
	}
}

func TestFaultyConfigurationEndsTheProcessWithItsPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := "workers:\n  openai: {kind: openai}\nroutes:\n  chat:\n    fallbacks: [openai]\n    tiemout: 5s\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := run(t, "standalone", home(file, t.TempDir(), ""))
	if code := p.exit(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if place := regexp.MustCompile(regexp.QuoteMeta(file) + `:6:5: .*tiemout`); !place.MatchString(p.log()) {
		t.Errorf("the log names no place:\n%s", p.log())
	}
}

func TestUnknownServiceEndsTheProcess(t *testing.T) {
	p := run(t, "standalone", home("", t.TempDir(), "gateway,nonsense"))
	if code := p.exit(); code != 1 || !strings.Contains(p.log(), "UNDERSTUDY_SERVICES") || !strings.Contains(p.log(), "nonsense") {
		t.Errorf("exit code %d:\n%s", code, p.log())
	}
}
