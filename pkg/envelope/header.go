package envelope

import (
	"strconv"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// headerReader reads headers and keeps the first thing wrong with them.
type headerReader struct {
	header  Header
	invalid *dispatch.Error
}

func (h *headerReader) blame(name, want string) {
	if h.invalid == nil {
		h.invalid = dispatch.Errorf(dispatch.BadRequest, "header %s %q: %s", name, h.header.get(name), want)
		h.invalid.Param = name
	}
}

func (h *headerReader) time(name string, fallback time.Time) time.Time {
	v := h.header.get(name)
	if v == "" {
		return fallback
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		h.blame(name, "want a time like 2006-01-02T15:04:05Z")
		return fallback
	}
	return t
}

func (h *headerReader) duration(name string, fallback time.Duration) time.Duration {
	v := h.header.get(name)
	if v == "" {
		return fallback
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		h.blame(name, "want a duration like 30s")
		return fallback
	}
	return d
}

func (h *headerReader) number(name string) int64 {
	v := h.header.get(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 31)
	if err != nil || n < 0 {
		h.blame(name, "want a number")
		return 0
	}
	return n
}

func (h *headerReader) degrade(fallback dispatch.Degrade) dispatch.Degrade {
	switch v := dispatch.Degrade(h.header.get(wire.HeaderDegrade)); v {
	case dispatch.DegradeAllow, dispatch.DegradeNever:
		return v
	case "":
	default:
		h.blame(wire.HeaderDegrade, "want allow or never")
	}
	if fallback == "" {
		return dispatch.DegradeAllow
	}
	return fallback
}
