package chat

import "understudy/pkg/dispatch"

// Piece is what one chunk of a stream says, as far as somebody must know who
// goes on with the answer.
type Piece struct {
	// Text is what the chunk adds to the content of choice 0.
	Text string
	// Finish is true when the chunk ends a choice.
	Finish bool
	// Plain is true when the chunk says nothing but text and reasoning, of
	// choice 0 alone. Of anything else (a tool call, a refusal, log
	// probabilities) another model cannot take up the thread.
	Plain bool
	// Usage counts the tokens, where the chunk tells.
	Usage dispatch.Usage
}

// reasoning is what the fields are called in which models think aloud.
var reasoning = map[string]bool{"reasoning": true, "reasoning_content": true, "reasoning_details": true}

// ReadPiece reads a chunk in one go. What is no chat.completion.chunk is not
// Plain.
func ReadPiece(chunk []byte) Piece {
	p := Piece{Plain: true}
	s := scanner{data: chunk}
	framed := false
	err := s.object(func(key []byte) error {
		if is(key, "choices") && s.peek() == '[' {
			framed = true
			return s.array(func(i int) error { return p.choice(&s, i) })
		}
		raw, err := s.raw()
		if err == nil && is(key, "usage") && missed(raw) {
			p.Usage = usageOf(raw)
		}
		return err
	})
	if err != nil || !framed {
		return Piece{}
	}
	return p
}

func (p *Piece) choice(s *scanner, position int) error {
	p.Plain = p.Plain && position == 0
	return s.object(func(key []byte) error {
		if is(key, "delta") && s.peek() == '{' {
			return p.delta(s)
		}
		raw, err := s.raw()
		switch {
		case err != nil:
			return err
		case is(key, "index"):
			p.Plain = p.Plain && string(raw) == "0"
		case is(key, "finish_reason"):
			p.Finish = p.Finish || missed(raw)
		case is(key, "logprobs"), is(key, "message"):
			p.Plain = p.Plain && !missed(raw)
		}
		return nil
	})
}

func (p *Piece) delta(s *scanner) error {
	return s.object(func(key []byte) error {
		raw, err := s.raw()
		if err != nil {
			return err
		}
		text, isText := textOf(raw)
		switch {
		case is(key, "content") && isText:
			p.Text += text
		case is(key, "role"), reasoning[string(key)]:
		default:
			p.Plain = p.Plain && !missed(raw)
		}
		return nil
	})
}
