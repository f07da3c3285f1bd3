package fake

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
)

// FaultState is a fault that is set, and what it has seen so far.
type FaultState struct {
	Fault Fault `json:"fault"`
	// Seen counts the calls that Model selected, Struck those that failed.
	Seen   int `json:"seen"`
	Struck int `json:"struck"`
}

// rules holds the faults that are set. Its methods may be called from many
// goroutines.
type rules struct {
	mu     sync.Mutex
	states []FaultState
	models []*regexp.Regexp
	chance *rand.Rand
}

// newRules returns an empty list that draws its chances from seed.
func newRules(seed uint64) *rules {
	return &rules{chance: rand.New(rand.NewPCG(seed, seed))}
}

// set replaces the list and starts its counts anew.
func (r *rules) set(faults []Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states, r.models = nil, nil
	for _, fault := range faults {
		r.states = append(r.states, FaultState{Fault: fault})
		r.models = append(r.models, glob(fault.Model))
	}
}

// list returns a copy of the list.
func (r *rules) list() []FaultState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]FaultState{}, r.states...)
}

// strike returns the first fault that strikes a call to model, nil for none.
// Rules behind it count the call as seen all the same.
func (r *rules) strike(model string) *Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	var struck *Fault
	for i := range r.states {
		state := &r.states[i]
		if !r.models[i].MatchString(model) {
			continue
		}
		state.Seen++
		if struck == nil && state.due() && r.happens(state.Fault.Probability) {
			state.Struck++
			fault := state.Fault
			struck = &fault
		}
	}
	return struck
}

// due says whether the call just seen lies where the fault strikes.
func (s *FaultState) due() bool {
	f := s.Fault
	return s.Seen > f.After &&
		(f.First == 0 || s.Seen <= f.First) &&
		(f.Count == 0 || s.Struck < f.Count)
}

// draw says whether something of the given probability happens this time.
func (r *rules) draw(probability *float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.happens(probability)
}

// happens is draw for a caller that holds the lock.
func (r *rules) happens(probability *float64) bool {
	return probability == nil || r.chance.Float64() < *probability
}

// glob compiles a model pattern, in which * stands for any run of characters.
// The empty pattern stands for every model.
func glob(pattern string) *regexp.Regexp {
	if pattern == "" {
		pattern = "*"
	}
	quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
	return regexp.MustCompile(`(?s)^` + quoted + `$`)
}
