package rules

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// bundledEngine loads the packs that are shipped.
func bundledEngine(tb testing.TB) *Engine {
	tb.Helper()
	engine, err := Load(Bundled())
	if err != nil {
		tb.Fatalf("load the bundled packs:\n%v", err)
	}
	return engine
}

// row is a rule that answers with its id.
func row(id, when string, more ...string) string {
	lines := append([]string{
		"  - id: " + id,
		"    description: A rule.",
		"    when: |-",
		"      " + when,
		"    answer: {en: " + id + ", zh: " + id + " 中文}",
		"    tests: [{text: a, rule: " + id + "}, {text: 中, rule: " + id + "}]",
	}, more...)
	return strings.Join(lines, "\n") + "\n"
}

// decide returns the id that answers text; noRule for none.
func decide(engine *Engine, q Question) string {
	decision, fits := engine.Decide(q)
	if !fits {
		return noRule
	}
	return decision.RuleID
}

func TestBundledPacksPassTheirOwnCases(t *testing.T) {
	engine := bundledEngine(t)
	for _, p := range engine.Check() {
		t.Error(p)
	}
	cases := 0
	for _, p := range engine.packs {
		for _, r := range p.rules {
			cases += len(r.cases)
		}
	}
	if cases < 100 {
		t.Errorf("the bundled packs hold %d cases, expected at least a hundred", cases)
	}
}

func TestBundledPacksEvaluateEveryQuestionWithinTheCostLimit(t *testing.T) {
	engine := bundledEngine(t)
	questions := []string{"", "?", strings.Repeat("where is my parcel ", 500), strings.Repeat("退款", 5000)}
	for _, question := range questions {
		decision, fits := engine.Decide(Question{Text: question})
		if fits {
			t.Errorf("%.20q is answered by %s", question, decision.RuleID)
		}
		for _, step := range decision.Trace {
			if step.Err != nil {
				t.Errorf("%.20q: rule %s: %v", question, step.RuleID, step.Err)
			}
		}
	}
}

func TestCheckNamesTheCaseThatAnotherRuleAnswers(t *testing.T) {
	engine := mustLoad(t, header+row("one", `text == "a" || text == "中"`)+row("two", "text == 'b'"))
	problems := engine.Check()
	want := []string{
		`shop.yaml:17:20: "a" is answered by one, expected two`,
		`shop.yaml:17:42: "中" is answered by one, expected two`,
	}
	if got := fmt.Sprint(problems); got != fmt.Sprint(want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnswerIsFilledInTheLanguageOfTheQuestion(t *testing.T) {
	engine := mustLoad(t, header+refundRule)
	cases := []struct {
		question Question
		want     string
	}{
		{Question{Text: "Refund?"}, "In 7 days. Note 7."},
		{Question{Text: "怎么退款"}, "7 天。注 7。"},
		{Question{Text: "申请refund"}, "7 天。注 7。"},
		{Question{Text: "refund", Language: Chinese}, "7 天。注 7。"},
		{Question{Text: "退款", Language: "fr"}, "7 天。注 7。"},
	}
	for _, c := range cases {
		if decision, _ := engine.Decide(c.question); decision.Text != c.want {
			t.Errorf("%+v is answered %q, want %q", c.question, decision.Text, c.want)
		}
	}
}

func TestHitPolicyChoosesAmongRulesThatFit(t *testing.T) {
	low, high, equal := row("low", "true", "    priority: -1"), row("high", "true", "    priority: 9"), row("equal", "true", "    priority: 9")
	cases := map[string]string{
		header + row("one", "true") + row("two", "true"):                          "one",
		"hit_policy: first\n" + header + row("one", "false") + row("two", "true"): "two",
		"hit_policy: priority\n" + header + low + high + equal:                    "high",
		"hit_policy: priority\n" + header + low + row("none-given", "true"):       "none-given",
	}
	for pack, want := range cases {
		if got := decide(mustLoad(t, pack), Question{Text: "a"}); got != want {
			t.Errorf("%s answers, want %s\n%s", got, want, pack)
		}
	}
}

func TestConditionSeesMetadataAndLanguage(t *testing.T) {
	engine := mustLoad(t, header+
		row("vip", `metadata.tenant == "vip" && language == "en"`)+
		row("routed", `"route" in metadata && metadata.route == "refunds"`))
	cases := []struct {
		question Question
		want     string
	}{
		{Question{Text: "a", Metadata: map[string]string{"tenant": "vip"}}, "vip"},
		{Question{Text: "中", Metadata: map[string]string{"tenant": "vip"}}, noRule},
		{Question{Text: "a", Metadata: map[string]string{"route": "refunds"}}, "routed"},
		{Question{Text: "a"}, noRule},
	}
	for _, c := range cases {
		if got := decide(engine, c.question); got != c.want {
			t.Errorf("%+v is answered by %s, want %s", c.question, got, c.want)
		}
	}
}

func TestPacksAreAskedInTheOrderOfTheirNames(t *testing.T) {
	pack := func(id string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(header + row(id, "true"))} }
	engine, err := Load(fstest.MapFS{"b.yaml": pack("second"), "a.yaml": pack("first")})
	if err != nil {
		t.Fatal(err)
	}
	if got := decide(engine, Question{Text: "a"}); got != "first" {
		t.Errorf("%s answers, want the rule of a.yaml", got)
	}
}

func TestRuleThatCostsTooMuchDoesNotFitAndSaysSo(t *testing.T) {
	loop := `[1,2,3,4,5,6,7,8,9].all(a, text.matches('x*y*z*' + string(a)) || true)`
	engine := mustLoad(t, header+row("dear", loop)+row("cheap", "true"))
	decision, _ := engine.Decide(Question{Text: strings.Repeat("a", 200_000)})
	if decision.RuleID != "cheap" || len(decision.Trace) != 2 {
		t.Fatalf("decision %+v, want the cheap rule after two steps", decision)
	}
	if first := decision.Trace[0]; first.RuleID != "dear" || first.Fits || first.Err == nil {
		t.Errorf("first step %+v, want an error of the dear rule", first)
	}
	if second := decision.Trace[1]; second.RuleID != "cheap" || !second.Fits || second.Err != nil {
		t.Errorf("second step %+v, want the cheap rule to fit", second)
	}
}

func TestMentionsCountsTowardsTheCostLimit(t *testing.T) {
	engine := mustLoad(t, header+row("dear", `mentions(text, ["b", "c", "d", "e", "f", "g"])`))
	decision, fits := engine.Decide(Question{Text: strings.Repeat("a", 200_000)})
	if fits || decision.Trace[0].Err == nil {
		t.Errorf("decision without a cost error: %+v", decision.Trace)
	}
}

func TestDecisionsAreTheSameFromManyGoroutines(t *testing.T) {
	engine := bundledEngine(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, p := range engine.Check() {
				t.Error(p)
			}
		})
	}
	group.Wait()
}

func BenchmarkDecide(b *testing.B) {
	var large strings.Builder
	large.WriteString(header)
	for i := range 300 {
		fmt.Fprint(&large, row(fmt.Sprintf("rule-%d", i),
			fmt.Sprintf(`mentions(text, ["word%d", "词%d", "other"]) && size(text) < 200`, i, i)))
	}
	engines := map[string]*Engine{"bundled": bundledEngine(b), "300rules": mustLoad(b, large.String())}
	for name, engine := range engines {
		b.Run(name, func(b *testing.B) {
			question := Question{Text: "Could you please tell me what the weather will be like tomorrow?"}
			b.ReportAllocs()
			for b.Loop() {
				if _, fits := engine.Decide(question); fits {
					b.Fatal("a rule fits the weather")
				}
			}
		})
	}
}
