package config

import "fmt"

// Action says what applying did, or would do, to one thing.
type Action string

// The actions of a Change.
const (
	Created Action = "created"
	Changed Action = "changed"
	Removed Action = "removed"
	Moved   Action = "moved"
)

// Change is one difference between the running configuration and the applied one.
type Change struct {
	// What is "worker", "route" or "lane".
	What string `json:"what"`
	// Name of the worker or the route, or <route>.<lane>.
	Name   string `json:"name"`
	Action Action `json:"action"`
	// Detail says in words what differs; may be empty.
	Detail string `json:"detail,omitempty"`
}

// String returns the change in words.
func (c Change) String() string {
	s := fmt.Sprintf("%s %s %s", c.What, c.Name, c.Action)
	if c.Detail != "" {
		s += ": " + c.Detail
	}
	return s
}

// Report is what applying a configuration did, in the order it was done.
type Report struct {
	Changes []Change `json:"changes"`
}

func (r *Report) add(what, name string, action Action, detail string) {
	r.Changes = append(r.Changes, Change{What: what, Name: name, Action: action, Detail: detail})
}

// Lines returns the report in words, one change a line.
func (r Report) Lines() []string {
	if len(r.Changes) == 0 {
		return []string{"nothing changed"}
	}
	lines := make([]string, len(r.Changes))
	for i, c := range r.Changes {
		lines[i] = c.String()
	}
	return lines
}
