package rules

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// header begins a pack; its rules begin on line 6.
const header = `name: shop
description: A pack.
facts: {days: 7, shop: "Understudy", words: [refund, 退款]}
templates: {note: {en: "Note {{days}}.", zh: "注 {{days}}。"}}
rules:
`

// refundRule is a whole rule of nine lines.
const refundRule = `  - id: refund
    description: Refunds.
    when: mentions(text, facts.words)
    answer:
      en: In {{days}} days. {{note}}
      zh: "{{ days }} 天。{{note}}"
    tests:
      - {text: "refund", rule: refund}
      - {text: "退款", rule: refund}
`

// loadOne loads a single pack.
func loadOne(pack string) (*Engine, error) {
	return Load(fstest.MapFS{"shop.yaml": {Data: []byte(pack)}})
}

// mustLoad loads a single pack that has no fault.
func mustLoad(tb testing.TB, pack string) *Engine {
	tb.Helper()
	engine, err := loadOne(pack)
	if err != nil {
		tb.Fatalf("load:\n%v", err)
	}
	return engine
}

// withWhen is refundRule with another condition.
func withWhen(when string) string {
	return header + strings.Replace(refundRule, "mentions(text, facts.words)", when, 1)
}

// expecting is what CEL says when an operand is missing before token.
func expecting(token string) string {
	return "Syntax error: mismatched input '" + token + "' expecting " +
		"{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
}

func TestFaultsOfAPackAreReportedWhereTheyStand(t *testing.T) {
	replace := func(old, new string) string {
		pack := header + refundRule
		if !strings.Contains(pack, old) {
			t.Fatalf("the pack does not contain %q", old)
		}
		return strings.Replace(pack, old, new, 1)
	}
	cases := []struct {
		name, pack string
		want       []string
	}{
		{"unknown policy", "hit_policy: any\n" + header + refundRule, []string{
			`shop.yaml:1:13: unknown hit policy "any": use one of first, priority`,
		}},
		{"not YAML", "name: [", []string{
			`shop.yaml:1:7: not YAML: sequence end token ']' not found`,
		}},
		{"empty file", "", []string{
			`shop.yaml:1:1: the file is empty: write a pack or remove it`,
		}},
		{"two documents", header + refundRule + "---\nname: x\n", []string{
			`shop.yaml:1:1: the file holds 2 YAML documents: put each pack into its own file`,
		}},
		{"not a mapping", "- a", []string{
			`shop.yaml:1:1: the pack must be a mapping (key: value), found a list`,
		}},
		{"missing keys", "name: x\n", []string{
			`shop.yaml:1:1: the pack lacks "description": add it`,
			`shop.yaml:1:1: the pack lacks "rules": add it`,
		}},
		{"unknown key", replace("    when:", "    wen:"), []string{
			`shop.yaml:6:5: a rule lacks "when": add it`,
			`shop.yaml:8:5: unknown key "wen" in a rule: use one of answer, description, id, priority, tests, when`,
		}},
		{"key given twice", "name: y\n" + header + refundRule, []string{
			`shop.yaml:2:1: key "name" is given twice in the pack: keep one`,
		}},
		{"wrong kind of value", replace("id: refund", "id: 5"), []string{
			`shop.yaml:6:9: id must be a text, found a number: put it in quotes`,
		}},
		{"no value", replace("description: Refunds.", "description:"), []string{
			`shop.yaml:7:17: description must be a text, found nothing: put it in quotes`,
		}},
		{"id that is reserved", replace("id: refund", "id: none"), []string{
			`shop.yaml:6:9: id "none" cannot be used: write a-z, 0-9, -, _ and ., anything but "none"`,
			`shop.yaml:13:7: rule "none" has no test that expects it in en, zh: add one`,
			`shop.yaml:13:32: the test expects rule "refund", which is not in this file: use a rule's id or "none"`,
			`shop.yaml:14:28: the test expects rule "refund", which is not in this file: use a rule's id or "none"`,
		}},
		{"id used twice", header + refundRule + refundRule, []string{
			`shop.yaml:15:9: id "refund" is already used at line 6: rename one`,
		}},
		{"priority under first", replace("    when:", "    priority: 3\n    when:"), []string{
			`shop.yaml:8:15: priority means nothing under hit policy first: remove it, or set hit_policy: priority`,
		}},
		{"priority that is no number", "hit_policy: priority\n" + replace("    when:", "    priority: high\n    when:"), []string{
			`shop.yaml:9:15: priority must be a whole number, found a text`,
		}},
		{"missing language", replace("      zh: \"{{ days }} 天。{{note}}\"\n", ""), []string{
			`shop.yaml:10:7: answer lacks "zh": add it`,
		}},
		{"unknown language", replace("      zh:", "      fr: Sept jours.\n      zh:"), []string{
			`shop.yaml:11:7: unknown key "fr" in answer: use one of en, zh`,
		}},
		{"unknown variable", replace("{{ days }} 天。{{note}}", "七天内 {{dais}} 天，{{words}}"), []string{
			`shop.yaml:11:16: unknown variable {{dais}}: add it to facts or templates`,
			`shop.yaml:11:27: fact "words" is a list, which a text cannot show`,
		}},
		{"open variable", replace("days. {{note}}", "days. {{note}"), []string{
			`shop.yaml:10:29: {{ without }}: close the variable`,
		}},
		{"template named like a fact", replace("{note: {", "{days: {"), []string{
			`shop.yaml:4:13: template "days" has the name of a fact: rename one`,
			`shop.yaml:10:29: unknown variable {{note}}: add it to facts or templates`,
			`shop.yaml:11:25: unknown variable {{note}}: add it to facts or templates`,
		}},
		{"name that cannot be reached", replace("days: 7,", "days: 7, Max-Days: 8,"), []string{
			`shop.yaml:3:18: name "Max-Days" must be of a-z, 0-9 and _, beginning with a letter`,
		}},
		{"no Chinese test", replace(`"退款", rule: refund`, `"refund!", rule: refund`), []string{
			`shop.yaml:13:7: rule "refund" has no test that expects it in zh: add one`,
		}},
		{"condition with a type fault", withWhen(`text + 1 == "a" && txt == "b"`), []string{
			`shop.yaml:8:16: when: found no matching overload for '_+_' applied to '(string, int)'`,
			`shop.yaml:8:30: when: undeclared reference to 'txt' (did you mean 'text'?)`,
		}},
		{"condition in a block", withWhen("|-\n      mentions(text, facts.words)\n        && 退款()"), []string{
			`shop.yaml:10:12: when: Syntax error: token recognition error at: '退'`,
			`shop.yaml:10:13: when: Syntax error: token recognition error at: '款'`,
			`shop.yaml:10:15: when: ` + expecting(")"),
		}},
		{"condition in a block that repeats its key", withWhen("|-\n      when == text"), []string{
			`shop.yaml:9:7: when: undeclared reference to 'when'`,
		}},
		{"condition in a folded block", withWhen(">-\n      mentions(text, facts.words)\n      && txt == 'a'"), []string{
			`shop.yaml:10:10: when: undeclared reference to 'txt' (did you mean 'text'?)`,
		}},
		{"condition in quotes", withWhen(`'text == ''a'' && txt == "b"'`), []string{
			`shop.yaml:8:29: when: undeclared reference to 'txt' (did you mean 'text'?)`,
		}},
		{"condition that ends early", withWhen("text ==   "), []string{
			`shop.yaml:8:18: when: ` + expecting("<EOF>"),
		}},
		{"condition that is no condition", withWhen(`size(text)`), []string{
			`shop.yaml:8:11: when must be true or false, it is int: compare it with something`,
		}},
		{"pattern that is none", withWhen(`text.matches("(")`), []string{
			`shop.yaml:8:24: when: invalid matches argument`,
		}},
		{"unknown fact", withWhen(`facts.dais == 7 || facts["week"] == 7`), []string{
			`shop.yaml:8:16: when: unknown fact "dais": add it to facts`,
			`shop.yaml:8:35: when: unknown fact "week": add it to facts`,
		}},
		{"word that is never found", withWhen(`mentions(text, ["refund", "VIP"])`), []string{
			`shop.yaml:8:37: when: mentions never finds "VIP": texts are in lower case and half width, write "vip"`,
		}},
		{"fact that is no list of words", withWhen(`mentions(text, facts.shop)`), []string{
			`shop.yaml:8:31: when: mentions needs a list of words, fact "shop" is none`,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadOne(c.pack)
			faults, ok := errors.AsType[*PackError](err)
			if !ok {
				t.Fatalf("Load returned %v, want a *PackError", err)
			}
			if want := strings.Join(c.want, "\n"); faults.Error() != want {
				t.Errorf("got:\n%s\nwant:\n%s\npack:\n%s", faults, want, c.pack)
			}
		})
	}
}

func TestFaultsOfAllFilesAreReportedTogether(t *testing.T) {
	_, err := Load(fstest.MapFS{
		"a.yaml":    {Data: []byte(header + refundRule)},
		"b.yml":     {Data: []byte(header + refundRule)},
		"c.yaml":    {Data: []byte("name: c\n")},
		"notes.txt": {Data: []byte("no pack")},
	})
	want := strings.Join([]string{
		`b.yml:6:9: id "refund" is already used in a.yaml at line 6: rename one`,
		`c.yaml:1:1: the pack lacks "description": add it`,
		`c.yaml:1:1: the pack lacks "rules": add it`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestFolderWithoutPacksIsAnError(t *testing.T) {
	if _, err := Load(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load returned %v, want fs.ErrNotExist", err)
	}
}

func FuzzLoadReportsFaultsInsideTheFile(f *testing.F) {
	f.Add(header + refundRule)
	f.Add(withWhen("|-\n      text == \"退\" &&"))
	f.Add("a: &x [*x]\n<<: *x\n? {b: c}\n: !!str d\n---\n- {{")
	f.Fuzz(func(t *testing.T, pack string) {
		_, err := loadOne(pack)
		faults, ok := errors.AsType[*PackError](err)
		if err != nil && !ok {
			t.Fatalf("Load returned %v, want a *PackError", err)
		}
		if !ok {
			return
		}
		for _, p := range faults.Problems {
			if p.Line < 1 || p.Column < 1 {
				t.Errorf("%s: not a place in\n%s", p, pack)
			}
		}
	})
}
