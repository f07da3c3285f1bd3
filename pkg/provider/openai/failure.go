package openai

import (
	"bytes"
	"errors"
	"iter"
	"strings"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// told is a failure in the provider's own words. status is 0 when the failure
// came in an answer that had begun well.
func (p *Provider) told(status int, f fault) *dispatch.Error {
	if status == 0 {
		status = f.status
	}
	return &dispatch.Error{
		Kind:    p.classify(status, f),
		Status:  status,
		Message: p.clean(f.message),
		Type:    p.clean(f.kind),
		Code:    p.clean(f.code),
		Param:   p.clean(f.param),
	}
}

// failed is a failure in our words. A cause that spells out a secret is
// replaced by its words without it.
func (p *Provider) failed(kind dispatch.Kind, message string, cause error) *dispatch.Error {
	if text := cause.Error(); p.secrets.Replace(text) != text {
		cause = errors.New(p.clean(text))
	}
	return &dispatch.Error{Kind: kind, Message: p.clean(message), Cause: cause}
}

func (p *Provider) tooLarge() error {
	return &dispatch.Error{Kind: dispatch.Malformed, Message: errTooLarge.Error(), Cause: errTooLarge}
}

// faultIn finds a failure in an answer that had begun well: an event named
// error, or an object with one.
func (p *Provider) faultIn(event string, data []byte) (*dispatch.Error, bool) {
	if event != "error" {
		if !bytes.Contains(data, []byte(`"error"`)) {
			return nil, false
		}
		if raw := chat.Get(data, "error"); raw == nil || string(raw) == "null" {
			return nil, false
		}
	}
	f := readFault(data)
	if f.message == "" {
		f.message = "the provider reported an error in its answer"
	}
	return p.told(0, f), true
}

// clean takes secrets out of text and then shortens it.
func (p *Provider) clean(text string) string { return shorten(p.secrets.Replace(text)) }

// redactor replaces secrets in text.
func redactor(key string, values iter.Seq[string]) *strings.Replacer {
	var pairs []string
	add := func(secret string) {
		if secret != "" {
			pairs = append(pairs, secret, "[redacted]")
		}
	}
	add(key)
	for value := range values {
		add(value)
		if _, token, ok := strings.Cut(value, " "); ok { // Bearer and the like
			add(token)
		}
	}
	return strings.NewReplacer(pairs...)
}
