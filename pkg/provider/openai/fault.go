package openai

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// longestMessage bounds the bytes of a provider's words in an error.
const longestMessage = 1000

// fault is what a provider says about a failure, whatever shape it says it in.
type fault struct {
	message, kind, code, param string
	// status is the HTTP status that a code stands for; 0 for a word.
	status int
	// flagged is true when a moderation names what it objects to.
	flagged bool
}

// readFault understands the shapes of error bodies in use: OpenAI's
// {"error":{...}} and {"error":"text"}; the object without its wrapper;
// {"message":...}; {"detail":"text"} and {"detail":[{"loc":[...],"msg":...}]};
// any of them in an array; plain text. A page of HTML says nothing.
func readFault(body []byte) fault {
	body = bytes.TrimSpace(body)
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var outer map[string]json.RawMessage
	if json.Unmarshal(body, &outer) != nil {
		return fault{message: plainText(body)}
	}
	inner := outer
	if raw, ok := outer["error"]; ok && string(raw) != "null" {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			f := readObject(outer)
			f.message = word(raw)
			return f
		}
		inner = object
	}
	return readObject(inner)
}

func readObject(object map[string]json.RawMessage) fault {
	f := fault{
		message: word(object["message"]),
		kind:    word(object["type"]),
		code:    word(object["code"]),
		param:   word(object["param"]),
	}
	if n, err := strconv.Atoi(f.code); err == nil && n >= 400 && n < 600 {
		f.status = n
		readGoogle(object, &f)
	}
	if detail, ok := object["detail"]; ok && f.message == "" {
		f.message, f.param = readDetail(detail)
	}
	var metadata struct {
		Reasons []string `json:"reasons"`
		Flagged string   `json:"flagged_input"`
	}
	if json.Unmarshal(object["metadata"], &metadata) == nil {
		f.flagged = len(metadata.Reasons) > 0 || metadata.Flagged != ""
	}
	return f
}

// readGoogle reads what Google's APIs say beside a numeric code: a word for the
// status (google.rpc.Code), and a reason in the details (google.rpc.ErrorInfo).
func readGoogle(object map[string]json.RawMessage, f *fault) {
	var status string
	if json.Unmarshal(object["status"], &status) == nil && f.kind == "" {
		f.kind = status
	}
	var details []struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(object["details"], &details) != nil {
		return
	}
	for _, d := range details {
		if d.Reason != "" {
			f.code = d.Reason
			return
		}
	}
}

// readDetail reads FastAPI's detail: a text, or a list of validation errors of
// which the first one counts.
func readDetail(detail json.RawMessage) (message, param string) {
	var list []struct {
		Location []any  `json:"loc"`
		Message  string `json:"msg"`
	}
	if json.Unmarshal(detail, &list) != nil || len(list) == 0 {
		return word(detail), ""
	}
	var path strings.Builder
	for _, step := range list[0].Location {
		switch step := step.(type) {
		case string:
			if step != "body" {
				path.WriteString("." + step)
			}
		case float64:
			path.WriteString("[" + strconv.Itoa(int(step)) + "]")
		}
	}
	return list[0].Message, strings.TrimPrefix(path.String(), ".")
}

// word returns the text of a JSON string, or any other value as it is written;
// "" for null and for nothing.
func word(raw json.RawMessage) string {
	var text *string
	if json.Unmarshal(raw, &text) == nil {
		if text == nil {
			return ""
		}
		return *text
	}
	return string(raw)
}

func plainText(body []byte) string {
	if bytes.HasPrefix(body, []byte("<")) || !utf8.Valid(body) {
		return ""
	}
	return string(body)
}

// shorten cuts text to longestMessage bytes, between characters.
func shorten(text string) string {
	if len(text) <= longestMessage {
		return text
	}
	cut := longestMessage
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// statusWords names a status that came without words.
func statusWords(status int) string {
	if text := http.StatusText(status); text != "" {
		return strings.ToLower(text)
	}
	return "no message"
}
