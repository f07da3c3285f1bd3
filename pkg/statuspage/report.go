package statuspage

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Verdict is what a status page says, in one word.
type Verdict string

// The verdicts.
const (
	// None means that no page was read: none is configured, or not yet.
	None Verdict = ""
	// Unreachable means that there was no page to read.
	Unreachable Verdict = "unreachable"
	// Operational means that the provider says all is well.
	Operational Verdict = "operational"
	// Degraded means a minor incident or maintenance.
	Degraded Verdict = "degraded"
	// Outage means a major or critical incident.
	Outage Verdict = "outage"
)

// Report is what a status page said.
type Report struct {
	Verdict Verdict
	// Incidents names the open ones, in the provider's words.
	Incidents []string
	// Problem says why the page was Unreachable.
	Problem string
	// At is when it was read.
	At time.Time
}

const (
	mostIncidents = 5
	// longestName bounds an incident's name, in characters.
	longestName = 200
)

// indicators is how Statuspage v2 sums a page up (status.indicator).
var indicators = map[string]Verdict{
	"none": Operational, "minor": Degraded, "maintenance": Degraded, "major": Outage, "critical": Outage,
}

// over is the statuses of incidents that have ended.
var over = []string{"resolved", "postmortem", "completed"}

// parse reads a summary. What it does not need may be missing or of any shape.
func parse(data []byte) (Report, error) {
	var page struct {
		Status struct {
			Indicator string `json:"indicator"`
		} `json:"status"`
		Incidents json.RawMessage `json:"incidents"`
	}
	if err := json.Unmarshal(data, &page); err != nil {
		return Report{}, fmt.Errorf("read summary: it is no Statuspage JSON")
	}
	verdict, known := indicators[page.Status.Indicator]
	if !known {
		return Report{}, fmt.Errorf("read summary: status.indicator %.40q is not one of Statuspage's", page.Status.Indicator)
	}
	r := Report{Verdict: verdict}
	var incidents []struct {
		Name   string `json:"name"`
		Status string `json:"status"`
	}
	_ = json.Unmarshal(page.Incidents, &incidents) // names are welcome, not needed
	for _, i := range incidents {
		if i.Name == "" || slices.Contains(over, i.Status) || len(r.Incidents) == mostIncidents {
			continue
		}
		r.Incidents = append(r.Incidents, fmt.Sprintf("%.*s", longestName, i.Name))
	}
	return r, nil
}
