package openai

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestWait caps what a provider may ask for: beyond a day it is noise.
const longestWait = 24 * time.Hour

// retryAfter reads how long the provider asks to be left alone: retry-after-ms
// in milliseconds, else Retry-After in seconds or as a date; 0 when it says
// nothing that can be read, or a time that has passed.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if wait, ok := parseWait(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return wait
	}
	text := h.Get("Retry-After")
	if wait, ok := parseWait(text, time.Second); ok {
		return wait
	}
	if date, err := http.ParseTime(text); err == nil {
		return min(max(date.Sub(now), 0), longestWait)
	}
	return 0
}

// parseWait reads a number of units, whole or not.
func parseWait(text string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || n != n {
		return 0, false
	}
	wait := min(max(n*float64(unit), 0), float64(longestWait))
	return time.Duration(wait), true
}
