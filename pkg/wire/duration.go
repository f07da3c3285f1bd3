package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a time.Duration that is written as "1m30s" on the wire.
type Duration time.Duration

// Or returns d, or fallback when d is zero: absent.
func (d Duration) Or(fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return time.Duration(d)
}

// String returns the wire form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the wire form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the wire form.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("a duration is a string like \"1m30s\", not %s", data)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("a duration is a string like \"1m30s\": %w", err)
	}
	*d = Duration(v)
	return nil
}
