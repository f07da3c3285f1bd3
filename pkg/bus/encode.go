package bus

import (
	"bytes"
	"encoding/json"
)

// encode writes JSON without escaping <, > and &: bodies and answers are kept
// as they were written.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
