package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"understudy/pkg/chat"
	"understudy/pkg/wire"
)

// errDiffers means that the recorded answer does not begin with what the caller
// has in hand.
var errDiffers = errors.New("the answer differs from what was streamed")

// mend makes sure that what is still to be sent (held, tail, counted) completes
// the answer. A whole view needs nothing but, perhaps, its usage; a torn one is
// completed from the record.
func (s *stream) mend(r wire.Result) error {
	whole := s.opened && !s.torn && len(s.tail) > 0 && s.seen.Complete()
	if whole && (!s.usage || s.counted != nil) {
		return nil
	}
	answer := []byte(r.Answer)
	if whole {
		_, _, counted, err := ending(answer)
		s.counted = counted
		return err
	}
	said := map[int]message{}
	if s.opened {
		var err error
		if said, err = messages(s.seen); err != nil {
			return err
		}
		if answer, err = remainder(answer, said); err != nil {
			return err
		}
	}
	chunks, tail, counted, err := ending(answer)
	if err != nil {
		return err
	}
	s.held, s.tail, s.counted = nil, tail, counted
	for _, chunk := range chunks {
		if !opens(chunk, said) {
			s.held = append(s.held, chunk)
		}
	}
	return nil
}

// ending turns an answer into chunks and sets apart the last finish and the usage.
func ending(answer []byte) (chunks, tail [][]byte, counted []byte, err error) {
	all, err := chat.Chunks(answer)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, c := range all {
		chunks = append(chunks, c.Data)
	}
	if last := len(chunks) - 1; countsOnly(chunks[last]) {
		chunks, counted = chunks[:last], chunks[last]
	}
	last := len(chunks) - 1
	return chunks[:last], chunks[last:], counted, nil
}

type message = map[string]json.RawMessage

// messages returns what was streamed of each choice, by its index.
func messages(a *chat.Assembler) (map[int]message, error) {
	for i := 0; !a.Complete(); i++ { // an assembler speaks of finished choices only
		if i > len(a.FinishReasons())+1000 {
			return nil, errDiffers
		}
		finish := fmt.Sprintf(`{"choices":[{"index":%d,"delta":{},"finish_reason":"stop"}]}`, i)
		if _, err := a.Add([]byte(finish)); err != nil {
			return nil, err
		}
	}
	whole, err := a.Completion()
	if err != nil {
		return nil, err
	}
	var completion struct {
		Choices []struct {
			Index   int     `json:"index"`
			Message message `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(whole, &completion); err != nil {
		return nil, err
	}
	said := map[int]message{}
	for _, c := range completion.Choices {
		said[c.Index] = c.Message
	}
	return said, nil
}

// remainder returns an answer without what was said already, or errDiffers.
func remainder(answer []byte, said map[int]message) ([]byte, error) {
	var choices []map[string]json.RawMessage
	if err := json.Unmarshal(chat.Get(answer, "choices"), &choices); err != nil {
		return nil, err
	}
	found := 0
	for position, choice := range choices {
		index := position
		if raw := choice["index"]; raw != nil {
			if err := json.Unmarshal(raw, &index); err != nil {
				return nil, err
			}
		}
		before, ok := said[index]
		if !ok {
			continue
		}
		found++
		var m message
		if err := json.Unmarshal(choice["message"], &m); err != nil {
			return nil, err
		}
		if err := subtract(m, before); err != nil {
			return nil, err
		}
		choice["message"], _ = json.Marshal(m) // raw values that were just decoded
	}
	if found < len(said) {
		return nil, errDiffers
	}
	rest, err := json.Marshal(choices)
	if err != nil {
		return nil, err
	}
	return chat.Set(answer, chat.Field{Name: "choices", Value: rest})
}

// subtract takes out of a message what was said: the beginning of a text, or a
// whole value of any other sort.
func subtract(m, said message) error {
	for name, before := range said {
		if name == "role" || string(before) == "null" {
			continue
		}
		var old, now string
		if json.Unmarshal(before, &old) != nil {
			if !sameJSON(before, m[name]) {
				return errDiffers
			}
			delete(m, name)
			continue
		}
		if old == "" {
			continue
		}
		if json.Unmarshal(m[name], &now) != nil || !strings.HasPrefix(now, old) {
			return errDiffers
		}
		m[name], _ = json.Marshal(now[len(old):]) // a string always encodes
	}
	return nil
}

func sameJSON(a, b []byte) bool {
	var left, right bytes.Buffer
	return json.Compact(&left, a) == nil && json.Compact(&right, b) == nil && bytes.Equal(left.Bytes(), right.Bytes())
}

// opens tells the chunk that opens a choice which was opened before.
func opens(chunk []byte, said map[int]message) bool {
	var c struct {
		Choices []struct {
			Index int                        `json:"index"`
			Delta map[string]json.RawMessage `json:"delta"`
		} `json:"choices"`
	}
	if len(said) == 0 || json.Unmarshal(chunk, &c) != nil || len(c.Choices) == 0 {
		return false
	}
	_, before := said[c.Choices[0].Index]
	return before && c.Choices[0].Delta["role"] != nil
}

// unfinished splits a chunk that both says something and finishes: first what
// it says, then the finish alone.
func unfinished(chunk []byte) (delta, finish []byte, err error) {
	var saying, ending []map[string]json.RawMessage
	choices := chat.Get(chunk, "choices")
	if err := errors.Join(json.Unmarshal(choices, &saying), json.Unmarshal(choices, &ending)); err != nil {
		return nil, nil, err
	}
	for i := range saying {
		saying[i]["finish_reason"] = json.RawMessage("null")
		ending[i]["delta"] = json.RawMessage("{}")
		delete(ending[i], "logprobs")
	}
	if delta, err = withChoices(chunk, saying); err != nil {
		return nil, nil, err
	}
	// The usage, if the chunk has it, is told once: at the end.
	if delta, err = chat.Set(delta, chat.Field{Name: "usage"}); err != nil {
		return nil, nil, err
	}
	finish, err = withChoices(chunk, ending)
	return delta, finish, err
}

func withChoices(chunk []byte, choices []map[string]json.RawMessage) ([]byte, error) {
	value, err := json.Marshal(choices)
	if err != nil {
		return nil, err
	}
	return chat.Set(chunk, chat.Field{Name: "choices", Value: value})
}
