package fake

import (
	"encoding/json"
	"strings"
)

// request is what the fake reads of a chat completion or an embedding request.
type request struct {
	Model         string    `json:"model"`
	Messages      []message `json:"messages"`
	Stream        bool      `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           int             `json:"max_tokens"`
	MaxCompletionTokens int             `json:"max_completion_tokens"`
	Tools               []tool          `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`

	Input          json.RawMessage `json:"input"`
	Dimensions     int             `json:"dimensions"`
	EncodingFormat string          `json:"encoding_format"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

type tool struct {
	Function struct {
		Name string `json:"name"`
	} `json:"function"`
}

// text returns the words of a message, whether they came as a string or as a
// list of parts.
func (m message) text() string {
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return ""
	}
	var joined strings.Builder
	for _, part := range parts {
		joined.WriteString(part.Text)
	}
	return joined.String()
}

// lastUserText returns what the user said last.
func (r *request) lastUserText() string {
	for i := len(r.Messages) - 1; i >= 0; i-- {
		if r.Messages[i].Role == "user" {
			return r.Messages[i].text()
		}
	}
	return ""
}

// prefill returns the beginning of an answer that the caller wants continued:
// the text of a last message that is the assistant's.
func (r *request) prefill() string {
	if n := len(r.Messages); n > 0 && r.Messages[n-1].Role == "assistant" {
		return r.Messages[n-1].text()
	}
	return ""
}

// forcedTool returns the name of the tool that the caller insists on, "" for
// none.
func (r *request) forcedTool() string {
	if len(r.Tools) == 0 {
		return ""
	}
	if string(r.ToolChoice) == `"required"` {
		return r.Tools[0].Function.Name
	}
	var choice tool
	if json.Unmarshal(r.ToolChoice, &choice) != nil {
		return ""
	}
	return choice.Function.Name
}

// maxTokens returns the caller's limit on the answer, 0 for none.
func (r *request) maxTokens() int {
	if r.MaxCompletionTokens > 0 {
		return r.MaxCompletionTokens
	}
	return r.MaxTokens
}

// promptTokens counts the tokens of all messages.
func (r *request) promptTokens() int {
	n := 0
	for _, m := range r.Messages {
		n += len(split(m.text()))
	}
	return n
}
