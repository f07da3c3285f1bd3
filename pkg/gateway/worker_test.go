package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

func TestStatesAndReasonsOfWorkersAreReadableByHTTP(t *testing.T) {
	h := open(t, plan{})
	heard := make(chan struct{}, 8)
	// Messages reach the listeners of one connection in order: what the test
	// hears, the gateway on the same connection has heard or hears next.
	stop, err := h.bus.Listen(wire.SubjectsHealth, "", func(bus.Message) { heard <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	now := time.Now().UTC()
	report := wire.Health{
		Worker: "openai", Instance: "i1", State: wire.HealthStateOpen, Reason: "5 failures in a row", Concurrency: 4, StartedAt: now, At: now,
		Breaker: wire.Breaker{State: wire.BreakerStateOpen, Reason: "5 failures in a row"},
	}
	forged := report
	forged.Instance = "forged"
	if err := h.bus.SetDiagnosis(t.Context(), wire.Diagnosis{Worker: "openai", Cause: wire.CauseOutage, Confidence: wire.ConfidenceLikely, Evidence: []string{"503 five times"}, Advice: "wait", Since: now, At: now}); err != nil {
		t.Fatal(err)
	}
	var view struct {
		Data      []wire.Health             `json:"data"`
		Diagnoses map[string]wire.Diagnosis `json:"diagnoses"`
	}
	for len(view.Data) == 0 && t.Context().Err() == nil {
		send(t, h.bus, wire.HealthSubject("openai", "other"), forged) // under another's subject
		send(t, h.bus, wire.HealthSubject("openai", "i1"), report)
		<-heard
		<-heard
		resp, err := h.client.Get("http://" + h.g.Addr().String() + "/v1/workers")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s %v", resp.StatusCode, body, err)
		}
		if err := json.Unmarshal(body, &view); err != nil {
			t.Fatal(err)
		}
	}
	if len(view.Data) != 1 || view.Data[0].Instance != "i1" || view.Data[0].Breaker.Reason != "5 failures in a row" {
		t.Errorf("workers %+v", view.Data)
	}
	if view.Diagnoses["openai"].Cause != wire.CauseOutage {
		t.Errorf("diagnoses %+v", view.Diagnoses)
	}
}

func send(t *testing.T, b *bus.Bus, subject string, h wire.Health) {
	t.Helper()
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Send(subject, nil, data); err != nil {
		t.Fatal(err)
	}
}
