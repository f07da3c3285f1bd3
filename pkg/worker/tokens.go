package worker

import "encoding/json"

// bytesPerToken is how many bytes of a request make a token, about.
const bytesPerToken = 4

// tokensOf guesses how many tokens a request will take: those of its body, and
// as many as it allows the answer.
func tokensOf(body []byte) int64 {
	var allowed struct {
		MaxTokens           int64 `json:"max_tokens"`
		MaxCompletionTokens int64 `json:"max_completion_tokens"`
	}
	_ = json.Unmarshal(body, &allowed) // a guess needs no valid body
	return int64(len(body)/bytesPerToken) + max(allowed.MaxTokens, allowed.MaxCompletionTokens, 0)
}
