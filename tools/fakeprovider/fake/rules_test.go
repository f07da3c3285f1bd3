package fake

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// struckCalls makes n calls and returns which of them, counted from 1, failed.
func struckCalls(c client, model string, n int) []int {
	var struck []int
	for i := range n {
		if c.chat(model, false).status != http.StatusOK {
			struck = append(struck, i+1)
		}
	}
	return struck
}

func TestRulesSelectCallsByTheirNumber(t *testing.T) {
	for _, rule := range []struct {
		fault Fault
		want  []int
	}{
		{Fault{}, []int{1, 2, 3, 4, 5, 6}},
		{Fault{First: 2}, []int{1, 2}},
		{Fault{After: 4}, []int{5, 6}},
		{Fault{After: 2, First: 4}, []int{3, 4}},
		{Fault{After: 1, Count: 2}, []int{2, 3}},
		{Fault{Count: 1}, []int{1}},
		{Fault{Probability: new(0.0)}, nil},
		{Fault{Probability: new(1.0), Count: 3}, []int{1, 2, 3}},
	} {
		s, c := start(t, Options{})
		rule.fault.Kind = Status
		if err := s.SetFaults(rule.fault); err != nil {
			t.Fatal(err)
		}
		if got := struckCalls(c, "m", 6); !slices.Equal(got, rule.want) {
			t.Errorf("%+v struck the calls %v, want %v", rule.fault, got, rule.want)
		}
		state := s.Faults()[0]
		if state.Seen != 6 || state.Struck != len(rule.want) {
			t.Errorf("%+v: want 6 seen and %d struck, got %+v", rule.fault, len(rule.want), state)
		}
	}
}

func TestRulesSelectCallsByModel(t *testing.T) {
	s, c := start(t, Options{})
	if err := s.SetFaults(Fault{Kind: Status, Model: "vendor/gpt-*.5"}); err != nil {
		t.Fatal(err)
	}
	for model, struck := range map[string]bool{
		"vendor/gpt-4.5": true, "vendor/gpt-.5": true, "vendor/gpt-4x5": false, "gpt-4.5": false, "vendor/gpt-4.5-mini": false,
	} {
		if got := len(struckCalls(c, model, 1)) == 1; got != struck {
			t.Errorf("model %s struck: %v, want %v", model, got, struck)
		}
	}
}

func TestTheFirstRuleThatStrikesDecides(t *testing.T) {
	s, c := start(t, Options{})
	if err := s.SetFaults(Fault{Kind: Status, Status: 503, First: 1}, Fault{Kind: Status, Status: 418, First: 2}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{503, 418, 200} {
		if got := c.chat("m", false).status; got != want {
			t.Errorf("call %d: status %d, want %d", i+1, got, want)
		}
	}
}

func TestChancesComeFromTheSeed(t *testing.T) {
	draw := func(seed uint64, model string, faults ...Fault) []int {
		s, c := start(t, Options{Seed: seed})
		if err := s.SetFaults(faults...); err != nil {
			t.Fatal(err)
		}
		return struckCalls(c, model, 60)
	}
	half := Fault{Kind: Status, Probability: new(0.5)}
	one, again, other := draw(7, "m", half), draw(7, "m", half), draw(8, "m", half)
	if !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Errorf("seeds 7, 7 and 8 struck %v, %v and %v", one, again, other)
	}
	if len(one) < 10 || len(one) > 50 {
		t.Errorf("half of 60 calls should fail, %d did", len(one))
	}
	if byName := draw(7, "m:fault=status,probability=0.5"); !slices.Equal(one, byName) {
		t.Errorf("the chance in a model name struck %v, want %v", byName, one)
	}
}

func TestTheFaultInAModelNameGoesBeforeTheRules(t *testing.T) {
	s, c := start(t, Options{})
	if err := s.SetFaults(Fault{Kind: Status, Status: 503}); err != nil {
		t.Fatal(err)
	}
	if a := c.chat("gpt:fault=empty", false); a.whole(t).Model != "gpt" {
		t.Errorf("want an answer of model gpt, got %+v", a)
	}
	if seen := s.Faults()[0].Seen; seen != 0 {
		t.Errorf("the rule saw %d calls, want 0", seen)
	}
}

func TestImpossibleFaultsAreRefusedWithTheReason(t *testing.T) {
	for list, want := range map[string]string{
		`{"kind":"reset"}`:                                                   "want a JSON list",
		`[{"kind":"reset"},{"kind":"explode"}]`:                              `fault 2: kind "explode" is unknown: use one of account,`,
		`[{}]`:                                                               `fault 1: kind "" is unknown`,
		`[{"kind":"reset","chance":1}]`:                                      `fault 1: json: unknown field "chance"`,
		`[{"kind":"reset","probability":1.5}]`:                               "probability 1.5 must lie between 0 and 1",
		`[{"kind":"reset","after":-1}]`:                                      "after -1 must not be negative",
		`[{"kind":"reset","after":3,"first":3}]`:                             "make first larger than after",
		`[{"kind":"reset","tokens":3}]`:                                      "kind reset takes no tokens",
		`[{"kind":"status","status":200}]`:                                   "status 200 must lie between 400 and 599",
		`[{"kind":"status","status":"503"}]`:                                 "Fault.status",
		`[{"kind":"status","retry_after":"soon"}]`:                           `read duration "soon": write "2s" or a number of seconds`,
		`[{"kind":"status","retry_after":-1}]`:                               "retry_after must not be negative",
		`[{"kind":"status","retry_after":1,"retry_after_form":"fortnight"}]`: `retry_after_form "fortnight" is unknown`,
		`[{"kind":"slow_tokens"}]`:                                           `kind slow_tokens needs a delay such as "2s"`,
	} {
		_, err := ParseFaults([]byte(list))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, got %v", list, want, err)
		}
	}
}

func TestSetFaultsLeavesTheListAloneWhenOneIsWrong(t *testing.T) {
	s, _ := start(t, Options{})
	if err := s.SetFaults(Fault{Kind: Reset}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetFaults(Fault{Kind: Empty}, Fault{Kind: "explode"}); err == nil || !strings.HasPrefix(err.Error(), "fault 2: ") {
		t.Errorf("want an error about fault 2, got %v", err)
	}
	if now := s.Faults(); len(now) != 1 || now[0].Fault.Kind != Reset {
		t.Errorf("want the first list, got %+v", now)
	}
}

func TestUnreadableModelNamesAreBadRequests(t *testing.T) {
	s, c := start(t, Options{})
	for name, want := range map[string]string{
		"m:fault=":                   `kind \"\" is unknown`,
		"m:fault=explode":            `kind \"explode\" is unknown`,
		"m:fault=cut,tokens":         "write tokens as setting=value",
		"m:fault=cut,token=3":        `unknown field \"token\"`,
		"m:fault=cut,count=3":        "count cannot be set in a model name",
		"m:fault=status,status=full": "Fault.status",
		"":                           "You must provide a model parameter.",
	} {
		if a := c.chat(name, true); a.status != http.StatusBadRequest || !strings.Contains(a.body, want) {
			t.Errorf("model %q: want a 400 with %q, got %+v", name, want, a)
		}
	}
	until(t, s.Provider, "all count as refused", func(now Stats) bool { return now.ByOutcome[Refused] == 7 })
}
