package fake

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
)

const (
	defaultDimensions = 256
	maxDimensions     = 4096
)

// embed answers an embedding request: every text has its own unit vector, the
// same one at every provider and in every run.
func (c *call) embed() {
	texts := c.request.inputs()
	dimensions := c.request.Dimensions
	if dimensions == 0 {
		dimensions = defaultDimensions
	}
	switch {
	case len(texts) == 0:
		c.refuse(*badRequest("input", "You must provide an input: a string, a list of strings or tokens."), Refused)
		return
	case dimensions < 1 || dimensions > maxDimensions:
		c.refuse(*badRequest("dimensions", "The dimensions must lie between 1 and %d.", maxDimensions), Refused)
		return
	}
	list := embeddingList{Object: "list", Data: []embedding{}, Model: c.model}
	for i, text := range texts {
		item := embedding{Object: "embedding", Index: i}
		if vector := vector(text, dimensions); c.request.EncodingFormat == "base64" {
			item.Embedding = littleEndian(vector)
		} else {
			item.Embedding = vector
		}
		if c.fault.Kind != Empty {
			list.Data = append(list.Data, item)
		}
		list.Usage.PromptTokens += len(split(text))
	}
	list.Usage.TotalTokens = list.Usage.PromptTokens
	c.whole(encode(list), 1)
}

// inputs returns the texts to embed. A text given as tokens is its JSON.
func (r *request) inputs() []string {
	var text string
	if json.Unmarshal(r.Input, &text) == nil && text != "" {
		return []string{text}
	}
	var items []json.RawMessage
	if json.Unmarshal(r.Input, &items) != nil || len(items) == 0 {
		return nil
	}
	var number float64
	if json.Unmarshal(items[0], &number) == nil {
		return []string{string(r.Input)}
	}
	var texts []string
	for _, item := range items {
		var text string
		if json.Unmarshal(item, &text) != nil {
			text = string(item)
		}
		texts = append(texts, text)
	}
	return texts
}

// vector returns the unit vector of a text.
func vector(text string, dimensions int) []float32 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(text)) // never fails
	random := rand.New(rand.NewPCG(hash.Sum64(), 0))
	values := make([]float64, dimensions)
	var square float64
	for i := range values {
		values[i] = random.NormFloat64()
		square += values[i] * values[i]
	}
	unit := make([]float32, dimensions)
	for i, value := range values {
		unit[i] = float32(value / math.Sqrt(square))
	}
	return unit
}

// littleEndian returns a vector as the base64 that official clients ask for.
func littleEndian(vector []float32) string {
	data := make([]byte, 0, 4*len(vector))
	for _, value := range vector {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value))
	}
	return base64.StdEncoding.EncodeToString(data)
}
