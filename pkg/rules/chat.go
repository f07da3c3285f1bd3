package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// message is one message of a chat body.
type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// lastQuestion returns the text of the last user message of a chat completions
// body; "" when there is none, or when it carries no text.
func lastQuestion(body []byte) (string, error) {
	var chat struct {
		Messages []message `json:"messages"`
	}
	if err := json.Unmarshal(body, &chat); err != nil {
		return "", fmt.Errorf("read messages: %w", err)
	}
	if len(chat.Messages) == 0 {
		return "", errors.New("messages is missing or empty: send at least one message")
	}
	for i := len(chat.Messages) - 1; i >= 0; i-- {
		if chat.Messages[i].Role == "user" {
			return contentText(chat.Messages[i].Content, i)
		}
	}
	return "", nil
}

// contentText returns the text of a content: a string, or the parts of type text.
func contentText(content json.RawMessage, number int) (string, error) {
	var whole *string
	if json.Unmarshal(content, &whole) == nil && whole != nil {
		return *whole, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil || parts == nil {
		return "", fmt.Errorf("messages[%d].content must be a string or a list of parts", number)
	}
	var texts []string
	for _, part := range parts {
		if part.Type == "text" {
			texts = append(texts, part.Text)
		}
	}
	return strings.Join(texts, "\n"), nil
}

// frame is a chat.completion or a chat.completion.chunk.
type frame struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

// choice carries a message in a completion and a delta in a chunk.
type choice struct {
	Index        int     `json:"index"`
	Message      *said   `json:"message,omitempty"`
	Delta        *delta  `json:"delta,omitempty"`
	Logprobs     *string `json:"logprobs"`
	FinishReason *string `json:"finish_reason"`
}

// said is a whole message of the assistant; refusal is always null.
type said struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

type delta struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content,omitempty"`
}

// usage is always zero: no model counted anything.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// completion returns a whole chat.completion that says content.
func completion(id, content string, created time.Time) []byte {
	said := &said{Role: "assistant", Content: content}
	whole := newFrame(id, "chat.completion", created, choice{Message: said, FinishReason: new("stop")})
	whole.Usage = &usage{}
	return encode(whole)
}

// textChunk returns a chunk that says content.
func textChunk(id, content string, created time.Time) []byte {
	said := &delta{Role: "assistant", Content: content}
	return encode(newFrame(id, "chat.completion.chunk", created, choice{Delta: said}))
}

// lastChunk returns the chunk that ends an answer.
func lastChunk(id string, created time.Time) []byte {
	return encode(newFrame(id, "chat.completion.chunk", created, choice{Delta: &delta{}, FinishReason: new("stop")}))
}

func newFrame(id, object string, created time.Time, only choice) frame {
	return frame{ID: "chatcmpl-" + id, Object: object, Created: created.Unix(), Model: model, Choices: []choice{only}}
}

// encode returns f as JSON; a frame holds texts and numbers only, so it always can.
func encode(f frame) []byte {
	data, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", f.Object, err))
	}
	return data
}
