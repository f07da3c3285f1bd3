package chat

import (
	"strings"

	"understudy/pkg/dispatch"
)

// Question returns the text of the last user message: its content, or the text
// parts of its content, one a line.
//
// A body that is no chat request is an error of kind BadRequest, as from Check.
// A request in which no user says a word (a picture alone, instructions alone)
// is an error of kind Refused: a model may well answer it, a worker that needs
// a question cannot.
func Question(body []byte) (string, error) {
	if err := Check(body); err != nil {
		return "", err
	}
	var last []byte
	s := scanner{data: Get(body, "messages")}
	err := s.array(func(int) error {
		message, err := s.raw()
		if Text(message, "role") == "user" {
			last = message
		}
		return err
	})
	if err != nil {
		return "", err
	}
	text := ContentText(Get(last, "content"))
	if strings.TrimSpace(text) == "" {
		return "", &dispatch.Error{Kind: dispatch.Refused, Message: "messages holds no text from a user, so there is no question to answer", Param: "messages"}
	}
	return text, nil
}

// ContentText returns the text of a message's content: a string, or the text
// parts of an array, one a line. Anything else has no text.
func ContentText(content []byte) string {
	if text, ok := textOf(content); ok {
		return text
	}
	var lines []string
	s := scanner{data: content}
	_ = s.array(func(int) error { // anything but an array has no lines
		part, err := s.raw()
		if line, ok := textOf(Get(part, "text")); ok {
			lines = append(lines, line)
		}
		return err
	})
	return strings.Join(lines, "\n")
}
