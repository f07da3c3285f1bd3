package fake

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a time.Duration that JSON spells "1.5s". It also reads a bare
// number, as seconds.
type Duration time.Duration

// MarshalJSON writes the duration in Go's notation.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

// UnmarshalJSON reads Go's notation or a number of seconds.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var seconds float64
	if json.Unmarshal(data, &seconds) == nil {
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("read duration %s: write \"2s\" or a number of seconds", data)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("read duration %q: write \"2s\" or a number of seconds", text)
	}
	*d = Duration(parsed)
	return nil
}
