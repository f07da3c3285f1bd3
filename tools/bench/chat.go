package main

import (
	"bytes"
	"fmt"
	"strings"
)

// route is the one route, and model the model name that leads to it.
const (
	route = "chat"
	model = "chat"
)

const (
	questionHead = `{"model":"` + model + `","messages":[{"role":"user","content":"`
	questionTail = `"}]}`
	answerHead   = `{"id":"`
	answerTail   = `","object":"chat.completion","created":1700000000,"model":"chat","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}`
)

// question returns a chat request of the given size, or the smallest there is.
func question(size int) []byte {
	filler := max(size-len(questionHead)-len(questionTail), 0)
	return []byte(questionHead + strings.Repeat("x", filler) + questionTail)
}

// answer returns the fixed completion that every leg's worker gives. It names
// the request, so that a mix-up shows.
func answer(id string) []byte {
	a := make([]byte, 0, len(answerHead)+len(id)+len(answerTail)+1)
	a = append(append(append(a, answerHead...), id...), answerTail...)
	return append(a, '}')
}

// check says whether a reply holds the answer to the request. What the
// pipeline adds to an answer goes around it, or after its own fields.
func check(reply []byte, id string) error {
	want := answer(id)
	if !bytes.Contains(reply, want[:len(want)-1]) {
		return fmt.Errorf("request %s: the reply is not its answer: %.300s", id, reply)
	}
	return nil
}
