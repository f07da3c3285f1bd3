package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"understudy/pkg/bus"
	"understudy/pkg/config"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

const (
	workerName = "bench"
	// usualConcurrency is a worker's default; more clients get as many slots.
	usualConcurrency = 64
)

// pipeline is the product on a broker of its own: a configuration applied, and
// a worker with its own connection.
type pipeline struct {
	bus        *bus.Bus
	registry   *prometheus.Registry
	durability wire.Durability
	closers    []func() // in the order of opening
}

func openPipeline(ctx context.Context, c conditions) (*pipeline, error) {
	b, err := bus.Open(ctx, bus.Config{DataDir: c.dir, Listen: "none", MaxPayload: 1 << 20, Name: "bench"}, c.log)
	if err != nil {
		return nil, err
	}
	p := &pipeline{bus: b, registry: prometheus.NewRegistry(), durability: c.durability, closers: []func(){b.Close}}
	settings := wire.Worker{Kind: wire.WorkerKindOpenai, BaseURL: "http://127.0.0.1/v1", Model: model, Concurrency: int64(max(c.clients, usualConcurrency))}
	_, err = config.Apply(ctx, b, wire.Config{
		Workers: map[string]wire.Worker{workerName: settings},
		Routes:  map[string]wire.Route{route: {Models: []string{model}, Fallbacks: []string{workerName}, Durability: c.durability}},
	})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("apply configuration: %w", err)
	}
	conn, err := p.connect(ctx, workerName)
	if err != nil {
		p.close()
		return nil, err
	}
	w := worker.New(worker.Config{Name: workerName, Instance: "1", Settings: settings, Metrics: worker.NewMetrics(p.registry)}, conn, provider{}, c.log)
	p.run(w.Run)
	return p, nil
}

// connect opens a connection that ends with the pipeline.
func (p *pipeline) connect(ctx context.Context, name string) (*bus.Bus, error) {
	conn, err := p.bus.Connect(ctx, name)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, conn.Close)
	return conn, nil
}

// run keeps a part running until the pipeline closes. A part that fails shows
// as requests without an answer; it has logged why.
func (p *pipeline) run(part func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = part(ctx)
	}()
	p.closers = append(p.closers, func() { stop(); <-done })
}

func (p *pipeline) standing(ctx context.Context) (queued, recorded uint64, err error) {
	queue, err := p.bus.StreamState(ctx, wire.RequestStream(route))
	if err != nil {
		return 0, 0, err
	}
	results, err := p.bus.StreamState(ctx, "KV_"+wire.ResultsBucket(p.durability))
	return queue.Messages, results.Messages, err
}

// close ends what was opened, the last first.
func (p *pipeline) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
}

// provider answers at once.
type provider struct{}

var _ worker.Provider = provider{}

func (provider) Answer(_ context.Context, req *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
	return &dispatch.Answer{Body: answer(req.ID), Model: model, Usage: dispatch.Usage{Input: 9, Output: 12}}, nil
}

func (provider) Probe(context.Context) error { return nil }

// published is the dispatch leg: clients publish into the route's queue and
// wait for the result, as any NATS client may.
type published struct {
	*pipeline
	clients *bus.Bus
	body    []byte
	inbox   string
	boxes   []chan bus.Message
}

var _ leg = (*published)(nil)

func openDispatch(ctx context.Context, c conditions) (leg, error) {
	p, err := openPipeline(ctx, c)
	if err != nil {
		return nil, err
	}
	d := &published{pipeline: p, body: c.body}
	if err := d.listen(ctx, c.clients); err != nil {
		p.close()
		return nil, err
	}
	return d, nil
}

// listen opens the inbox that all clients share, a subject each.
func (d *published) listen(ctx context.Context, clients int) (err error) {
	if d.clients, err = d.connect(ctx, "clients"); err != nil {
		return err
	}
	d.inbox = d.clients.NewInbox() + "."
	for range clients {
		d.boxes = append(d.boxes, make(chan bus.Message, 1))
	}
	_, err = d.clients.Listen(d.inbox+"*", "", func(m bus.Message) {
		if n, err := strconv.Atoi(strings.TrimPrefix(m.Subject, d.inbox)); err == nil {
			d.boxes[n] <- m
		}
	})
	return err
}

func (d *published) ask(ctx context.Context, client int, id string) error {
	header := bus.Header{wire.HeaderRequestID: {id}, wire.HeaderReplyTo: {d.inbox + strconv.Itoa(client)}}
	receipt, err := d.clients.Publish(ctx, wire.RequestSubject(route), id, header, d.body)
	if err != nil {
		return err
	}
	if receipt.Duplicate {
		return errors.New("request " + id + ": taken for a duplicate")
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("request %s: no answer: %w", id, context.Cause(ctx))
	case m := <-d.boxes[client]:
		if status := m.Header.Get(wire.HeaderStatus); status != string(dispatch.StatusAnswered) {
			return fmt.Errorf("request %s: %s: %s", id, status, m.Body)
		}
		return check(m.Body, id)
	}
}
