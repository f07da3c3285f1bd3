package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"understudy/pkg/wire"
)

// Header is a message's headers. Keys are case-sensitive.
type Header = nats.Header

// publishPatience outlasts a leader election: a publish is repeated under the
// same id for this long before it fails.
const publishPatience = 30 * time.Second

// attemptPatience is how long one publish waits for its acknowledgement.
const attemptPatience = 5 * time.Second

// Errors of Publish.
var (
	// ErrQueueFull means that the queue holds all it may: come back later.
	ErrQueueFull = errors.New("queue is full")
	// ErrTooLarge means that the message exceeds the broker's limit.
	ErrTooLarge = errors.New("message is larger than the broker takes")
	// ErrNoQueue means that no stream listens on the subject.
	ErrNoQueue = errors.New("no queue takes this subject")
)

// Receipt is the broker's acknowledgement: the message is kept.
type Receipt struct {
	Stream   string
	Sequence uint64
	// Duplicate is true when the same id was published before, within the
	// dedupe window: nothing was added.
	Duplicate bool
}

// Publish stores a message durably and returns once the broker acknowledged
// it. It repeats under the same dedupe id for 30 s while the broker is out of
// reach or without a leader. An error other than ErrQueueFull, ErrTooLarge and
// ErrNoQueue means that the outcome is unknown.
func (b *Bus) Publish(ctx context.Context, subject, dedupeID string, header Header, body []byte) (Receipt, error) {
	msg := &nats.Msg{Subject: subject, Header: header, Data: body}
	if dedupeID != "" {
		if msg.Header == nil {
			msg.Header = Header{}
		}
		msg.Header[wire.HeaderNatsMsgID] = []string{dedupeID}
	}
	giveUp := time.Now().Add(publishPatience)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		receipt, err := b.publishOnce(ctx, msg)
		if errors.Is(err, jetstream.ErrNoStreamResponse) && b.noStream(ctx, subject) {
			err = fmt.Errorf("%w: %w", ErrNoQueue, err)
		}
		if err == nil || final(err) || time.Now().After(giveUp) {
			return receipt, wrapPublish(subject, err)
		}
		select {
		case <-ctx.Done():
			return Receipt{}, wrapPublish(subject, errors.Join(ctx.Err(), err))
		case <-time.After(wait):
		}
	}
}

func (b *Bus) publishOnce(ctx context.Context, msg *nats.Msg) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return Receipt{}, classify(err)
	}
	return Receipt{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// noStream tells a subject that no stream takes from one whose stream has no
// leader at the moment.
func (b *Bus) noStream(ctx context.Context, subject string) bool {
	_, err := b.js.StreamNameBySubject(ctx, subject)
	return errors.Is(err, jetstream.ErrStreamNotFound)
}

func wrapPublish(subject string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("publish %s: %w", subject, err)
}

// Server error codes, from nats-server's errors.json.
const (
	codeMaxBytes    = 10077 // maximum bytes exceeded
	codeMaxMessages = 10076
	codeTooLarge    = 10054
	codeNoSpace     = 10023 // insufficient resources
	codeStorage     = 10047 // insufficient storage resources available
	codeWrongLast   = 10071
	codeWrongLastKV = 10164
)

func classify(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeMaxBytes, codeMaxMessages, codeNoSpace, codeStorage:
			return fmt.Errorf("%w: %w", ErrQueueFull, err)
		case codeTooLarge:
			return fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
	}
	return err
}

// final errors will not go away by repeating the publish.
func final(err error) bool {
	if errors.Is(err, ErrQueueFull) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNoQueue) || errors.Is(err, nats.ErrConnectionClosed) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code < 500
}

// Send publishes a core message: at most once, no acknowledgement.
func (b *Bus) Send(subject string, header Header, body []byte) error {
	return b.nc.PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: body})
}

// Message is a core message.
type Message struct {
	Subject string
	Header  Header
	Body    []byte

	msg *nats.Msg
}

// Respond answers a message that asks for an answer.
func (m Message) Respond(header Header, body []byte) error {
	return m.msg.RespondMsg(&nats.Msg{Header: header, Data: body})
}

// WantsReply says whether the sender waits for an answer.
func (m Message) WantsReply() bool { return m.msg.Reply != "" }

// Listen calls handle for each core message on the subject, one at a time,
// until stop is called. Listeners with the same non-empty group share the
// messages.
func (b *Bus) Listen(subject, group string, handle func(Message)) (stop func(), err error) {
	cb := func(m *nats.Msg) { handle(Message{Subject: m.Subject, Header: m.Header, Body: m.Data, msg: m}) }
	var sub *nats.Subscription
	if group == "" {
		sub, err = b.nc.Subscribe(subject, cb)
	} else {
		sub, err = b.nc.QueueSubscribe(subject, group, cb)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	// A listener misses nothing that is sent after Listen returned.
	if err := b.nc.FlushTimeout(10 * time.Second); err != nil && b.nc.IsConnected() {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Ask sends a core message and returns the first answer; ErrNoAnswer when
// nobody listens or nobody answers in time.
func (b *Bus) Ask(ctx context.Context, subject string, header Header, body []byte) (Message, error) {
	m, err := b.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
	if err != nil {
		return Message{}, fmt.Errorf("%w on %s: %w", ErrNoAnswer, subject, err)
	}
	return Message{Subject: m.Subject, Header: m.Header, Body: m.Data, msg: m}, nil
}

// ErrNoAnswer means that nobody answered a core request.
var ErrNoAnswer = errors.New("no answer")

// NewInbox returns a subject that nobody else listens on.
func (b *Bus) NewInbox() string { return b.nc.NewInbox() }
