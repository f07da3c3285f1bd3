package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"understudy/pkg/wire"
)

const (
	rawStream  = "RAW"
	rawSubject = "raw"
	rawBucket  = "results"
	rawReplyTo = "Reply-To"
	// rawFetchers pull by turns, so that one pull is always open.
	rawFetchers = 2
)

// raw is the least that a durable answer costs: publish, pull, record, reply,
// acknowledge, on one stream with one consumer. It is what somebody would write
// by hand with nats.go, without ids to dedupe by, deadlines, policies, lanes or
// history.
type raw struct {
	server  *server.Server
	clients *nats.Conn
	worker  *nats.Conn
	js      jetstream.JetStream
	queue   jetstream.Stream
	results jetstream.Stream
	kv      jetstream.KeyValue

	body  []byte
	inbox string
	boxes []chan *nats.Msg

	stop context.CancelFunc
	work sync.WaitGroup
}

var _ leg = (*raw)(nil)

func openRaw(ctx context.Context, c conditions) (leg, error) {
	r := &raw{body: c.body, stop: func() {}}
	if err := r.open(ctx, c); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *raw) open(ctx context.Context, c conditions) (err error) {
	// The settings of the product's embedded broker.
	r.server, err = server.NewServer(&server.Options{
		ServerName: "raw", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: filepath.Join(c.dir, "nats"),
		SyncAlways: true, MaxPayload: 1 << 20, JetStreamMaxMemory: 1 << 40, JetStreamMaxStore: 1 << 50,
	})
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	r.server.Start()
	if !r.server.ReadyForConnections(time.Minute) {
		return errors.New("start broker: not ready within a minute")
	}
	if r.clients, err = nats.Connect("", nats.InProcessServer(r.server)); err != nil {
		return err
	}
	if r.worker, err = nats.Connect("", nats.InProcessServer(r.server)); err != nil {
		return err
	}
	if r.js, err = jetstream.New(r.clients); err != nil {
		return err
	}
	if err := r.listen(c.clients); err != nil {
		return err
	}
	return r.serve(ctx, c)
}

// listen opens the inbox that all clients share, a subject each.
func (r *raw) listen(clients int) error {
	r.inbox = r.clients.NewInbox() + "."
	for range clients {
		r.boxes = append(r.boxes, make(chan *nats.Msg, 1))
	}
	_, err := r.clients.Subscribe(r.inbox+"*", func(m *nats.Msg) {
		if n, err := strconv.Atoi(strings.TrimPrefix(m.Subject, r.inbox)); err == nil {
			r.boxes[n] <- m
		}
	})
	return err
}

// serve creates the stream, the consumer and the bucket, and starts the worker.
func (r *raw) serve(ctx context.Context, c conditions) error {
	js, err := jetstream.New(r.worker)
	if err != nil {
		return err
	}
	queue := jetstream.StreamConfig{Name: rawStream, Subjects: []string{rawSubject}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxBytes: 1 << 30}
	results := jetstream.StreamConfig{
		Name: "KV_" + rawBucket, Subjects: []string{"$KV." + rawBucket + ".>"}, MaxMsgsPerSubject: 1, MaxAge: 24 * time.Hour,
		Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowDirect: true,
	}
	if r.queue, err = js.CreateStream(ctx, rawDurable(queue, c.durability)); err != nil {
		return err
	}
	if r.results, err = js.CreateStream(ctx, rawDurable(results, c.durability)); err != nil {
		return err
	}
	if r.kv, err = js.KeyValue(ctx, rawBucket); err != nil {
		return err
	}
	consumer, err := r.queue.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 20000})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	r.stop = stop
	work := make(chan jetstream.Msg)
	for range c.clients {
		r.work.Go(func() { r.handle(running, work) })
	}
	for range rawFetchers {
		r.work.Go(func() { r.fetch(running, consumer, max(c.clients/rawFetchers, 1), work) })
	}
	return nil
}

func rawDurable(s jetstream.StreamConfig, d wire.Durability) jetstream.StreamConfig {
	switch d {
	case wire.DurabilityFast:
		s.PersistMode = jetstream.AsyncPersistMode
	case wire.DurabilityMemory:
		s.Storage = jetstream.MemoryStorage
	}
	return s
}

// fetch pulls until ctx ends. A pull that fails shows as requests without an
// answer.
func (r *raw) fetch(ctx context.Context, consumer jetstream.Consumer, n int, work chan<- jetstream.Msg) {
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(n, jetstream.FetchMaxWait(250*time.Millisecond))
		if err != nil {
			return
		}
		for m := range batch.Messages() {
			select {
			case work <- m:
			case <-ctx.Done():
				return
			}
		}
	}
}

// handle answers requests one by one. What goes wrong shows as a request
// without an answer, or one that stays in the queue.
func (r *raw) handle(ctx context.Context, work <-chan jetstream.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-work:
			id := m.Headers().Get(wire.HeaderRequestID)
			result := answer(id)
			if _, err := r.kv.Create(ctx, id, result); err != nil {
				continue
			}
			_ = r.worker.Publish(m.Headers().Get(rawReplyTo), result)
			_ = m.DoubleAck(ctx)
		}
	}
}

func (r *raw) ask(ctx context.Context, client int, id string) error {
	m := &nats.Msg{Subject: rawSubject, Data: r.body, Header: nats.Header{
		wire.HeaderRequestID: {id}, rawReplyTo: {r.inbox + strconv.Itoa(client)},
	}}
	if _, err := r.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("request %s: %w", id, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("request %s: no answer: %w", id, context.Cause(ctx))
	case reply := <-r.boxes[client]:
		return check(reply.Data, id)
	}
}

func (r *raw) standing(ctx context.Context) (queued, recorded uint64, err error) {
	queue, err := r.queue.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	results, err := r.results.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	return queue.State.Msgs, results.State.Msgs, nil
}

func (r *raw) close() {
	r.stop()
	r.work.Wait()
	for _, nc := range []*nats.Conn{r.clients, r.worker} {
		if nc != nil {
			nc.Close()
		}
	}
	if r.server != nil {
		r.server.Shutdown()
		r.server.WaitForShutdown()
	}
}

// brokerVersion is the version of the embedded broker.
func brokerVersion() string { return server.VERSION }
