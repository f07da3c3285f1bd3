package bus_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
)

// finding returns what the checks say about syncing.
func finding(t *testing.T, b *bus.Bus, monitorURL string) bus.Finding {
	t.Helper()
	for _, f := range b.Findings(t.Context(), monitorURL) {
		if strings.Contains(f.Name, "syncs") {
			return f
		}
	}
	t.Fatal("no check of syncing")
	return bus.Finding{}
}

// remote connects as another process would to an embedded broker.
func remote(t *testing.T, relaxed bool) *bus.Bus {
	t.Helper()
	cfg := bustest.Config(t)
	cfg.Listen, cfg.Relaxed = "127.0.0.1:0", relaxed
	return bustest.Open(t, bus.Config{URL: bustest.Open(t, cfg).ClientURL()})
}

func TestBrokerThatSyncsEveryWriteIsFine(t *testing.T) {
	if f := finding(t, bustest.New(t), ""); !f.OK {
		t.Errorf("embedded: %+v", f)
	}
	if f := finding(t, remote(t, false), ""); !f.OK {
		t.Errorf("seen from another process: %+v", f)
	}
}

func TestBrokerThatDoesNotSyncIsReported(t *testing.T) {
	if f := finding(t, remote(t, true), ""); f.OK {
		t.Errorf("seen from another process: %+v", f)
	}
	for body, ok := range map[string]bool{
		`{"jetstream":{"config":{"sync_always":true}}}`:  true,
		`{"jetstream":{"config":{"sync_always":false}}}`: false,
		`{"jetstream":{"config":{}}}`:                    false,
		`not json`:                                       false,
	} {
		monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/varz" {
				_, _ = w.Write([]byte(body))
			}
		}))
		if f := finding(t, remote(t, true), monitor.URL); f.OK != ok || !ok && f.Detail == "" {
			t.Errorf("%s: %+v", body, f)
		}
		monitor.Close()
	}
}
