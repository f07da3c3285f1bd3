package rules

import "testing"

func TestLanguageIsTheOneThatWeighsMore(t *testing.T) {
	cases := map[string]Language{
		"How long does a refund take?": English,
		"退款多久到账":                       Chinese,
		"申请refund":                     Chinese,
		"我的order什么时候到":                 Chinese,
		"How do I say 谢谢 in English?":  English,
		"What does 退款 mean?":           English,
		"Où est mon colis ?":           English,
		"12345 ???":                    English,
		"":                             English,
	}
	for text, want := range cases {
		if got := LanguageOf(text); got != want {
			t.Errorf("LanguageOf(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestNormalFormFoldsCaseWidthAndSpace(t *testing.T) {
	cases := map[string]string{
		"  Where is\tMY\n order? ": "where is my order?",
		"ＲＥＦＵＮＤ　７天？":               "refund 7天?",
		"I haven’t got it":         "i haven't got it",
		"退款，多久":                    "退款,多久",
	}
	for text, want := range cases {
		if got := normalise(text); got != want {
			t.Errorf("normalise(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestLatinWordsAreMentionedWholeAndHanWordsAnywhere(t *testing.T) {
	cases := []struct {
		text, word string
		want       bool
	}{
		{"my refund, please", "refund", true},
		{"refund", "refund", true},
		{"申请refund吗", "refund", true},
		{"refunded", "refund", false},
		{"prerefund", "refund", false},
		{"refund2", "refund", false},
		{"caférefund", "refund", false},
		{"refunds and a refund", "refund", true},
		{"我要退款了", "退款", true},
		{"退 款", "退款", false},
		{"ip地址", "ip地址", true},
		{"vip地址", "ip地址", false},
		{"money back", "money back", true},
		{"aaa", "aa", false},
		{"", "refund", false},
	}
	for _, c := range cases {
		if got := mentions(c.text, c.word); got != c.want {
			t.Errorf("mentions(%q, %q) = %t, want %t", c.text, c.word, got, c.want)
		}
	}
}
