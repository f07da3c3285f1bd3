package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// callers ask over HTTP and wait for the answer, and publish over NATS without
// waiting; every acknowledged publish is checked at the end.
type callers struct {
	url string
	bus *bus.Bus

	mu           sync.Mutex
	asked        int
	answeredBy   map[string]int
	errors       map[int]int
	slowest      time.Duration
	acknowledged []string
	unconfirmed  int
}

func newCallers(url string, b *bus.Bus) *callers {
	return &callers{url: url, bus: b, answeredBy: map[string]int{}, errors: map[int]int{}}
}

const question = `{"messages":[{"role":"user","content":"How long does a refund take?"}]}`

// ask sends rate requests a second, every fourth one over NATS, until ctx
// ends, and returns when each has its answer.
func (c *callers) ask(ctx context.Context, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var open sync.WaitGroup
	defer open.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n%4 == 3 {
			open.Go(func() { c.publish(fmt.Sprintf("demo-%d", n)) })
			continue
		}
		open.Go(c.post)
	}
}

func (c *callers) post() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	started := time.Now()
	worker, status := c.exchange(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	c.slowest = max(c.slowest, time.Since(started))
	if status != http.StatusOK {
		c.errors[status]++
		return
	}
	c.answeredBy[worker]++
}

func (c *callers) exchange(ctx context.Context) (worker string, status int) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", bytes.NewReader([]byte(question)))
	if err != nil {
		return "", 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", 0
	}
	return resp.Header.Get("understudy-worker"), resp.StatusCode
}

func (c *callers) publish(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := c.bus.Publish(ctx, wire.RequestSubject("chat"), id, bus.Header{wire.HeaderRequestID: {id}}, []byte(question))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.unconfirmed++
		return
	}
	c.acknowledged = append(c.acknowledged, id)
}

// lost counts acknowledged requests without a recorded end.
func (c *callers) lost(ctx context.Context) (lost int, err error) {
	c.mu.Lock()
	ids := c.acknowledged
	c.mu.Unlock()
	for _, id := range ids {
		switch _, err := c.bus.FindResult(ctx, id); {
		case errors.Is(err, bus.ErrNotFound):
			lost++
		case err != nil:
			return 0, err
		}
	}
	return lost, nil
}
