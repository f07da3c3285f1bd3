package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/gateway"
	"understudy/pkg/wire"
)

// fronted is the gateway leg: clients ask over HTTP, each on a connection it
// keeps, and wait for the response.
type fronted struct {
	*pipeline
	body    []byte
	callers []*caller
}

var _ leg = (*fronted)(nil)

func openGateway(ctx context.Context, c conditions) (leg, error) {
	p, err := openPipeline(ctx, c)
	if err != nil {
		return nil, err
	}
	f := &fronted{pipeline: p, body: c.body}
	if err := f.serve(ctx, c); err != nil {
		p.close()
		return nil, err
	}
	return f, nil
}

func (f *fronted) serve(ctx context.Context, c conditions) error {
	conn, err := f.connect(ctx, "gateway")
	if err != nil {
		return err
	}
	// The access log is written as in production, to nowhere.
	g, err := gateway.New(gateway.Config{Addr: "127.0.0.1:0", Drain: time.Second}, conn, zerolog.New(io.Discard).Level(zerolog.InfoLevel), f.registry)
	if err != nil {
		return err
	}
	f.run(g.Run)
	for range c.clients {
		to, err := new(net.Dialer).DialContext(ctx, "tcp", g.Addr().String())
		if err != nil {
			return err
		}
		f.closers = append(f.closers, func() { _ = to.Close() })
		f.callers = append(f.callers, &caller{conn: to, in: bufio.NewReader(to)})
	}
	return nil
}

func (f *fronted) ask(_ context.Context, client int, id string) error {
	status, reply, err := f.callers[client].post(id, f.body)
	if err != nil {
		return fmt.Errorf("request %s: %w", id, err)
	}
	if status != 200 {
		return fmt.Errorf("request %s: status %d: %s", id, status, reply)
	}
	return check(reply, id)
}

// caller is a lean HTTP client on one connection, so that little of the
// measured time is its own. It understands what the gateway sends: HTTP/1.1
// with a Content-Length.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte
}

// post sends a chat request. The reply is valid until the next call.
func (c *caller) post(id string, body []byte) (status int, reply []byte, err error) {
	c.out = append(c.out[:0], "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"+wire.HeaderRequestID+": "...)
	c.out = append(append(c.out, id...), "\r\nContent-Length: "...)
	c.out = append(strconv.AppendInt(c.out, int64(len(body)), 10), "\r\n\r\n"...)
	c.out = append(c.out, body...)
	if err := c.conn.SetDeadline(time.Now().Add(askPatience)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, nil, err
	}
	return c.receive()
}

func (c *caller) receive() (status int, reply []byte, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if _, err := fmt.Sscanf(string(line), "HTTP/1.1 %d", &status); err != nil {
		return 0, nil, fmt.Errorf("status line %q: %w", line, err)
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		name, value, found := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		if !found {
			break
		}
		if string(name) == "Content-Length" {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, nil, err
			}
		}
	}
	if length < 0 {
		return 0, nil, fmt.Errorf("status %d without a Content-Length", status)
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err = io.ReadFull(c.in, c.body)
	return status, c.body, err
}
