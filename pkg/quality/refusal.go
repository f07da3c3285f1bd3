package quality

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// empty says why choices say nothing at all; "" when one of them does.
func empty(choices []choice) string {
	for _, c := range choices {
		if strings.TrimSpace(c.text) != "" || c.refusal != "" || c.calls || c.audio {
			return ""
		}
	}
	return "it says nothing and calls no tool"
}

// longestRefusal is the most characters that a mere refusal has. What is longer
// explains, or helps after all.
const longestRefusal = 300

// refusal says why choices are nothing but refusals; "" when one is not.
func refusal(choices []choice) string {
	if len(choices) == 0 || !slices.ContainsFunc(choices, func(c choice) bool { return c.refusal != "" || c.text != "" }) {
		return ""
	}
	reason := "it begins like a refusal and says no more"
	for _, c := range choices {
		switch {
		case c.calls:
			return ""
		case c.refusal != "":
			reason = "the provider marks it as a refusal"
		case !refuses(c.text):
			return ""
		}
	}
	return reason
}

// refuses says whether a short text opens with one of the openings.
func refuses(text string) bool {
	if utf8.RuneCountInString(text) > longestRefusal {
		return false
	}
	text = strings.ToLower(width.Fold.String(text))
	text = strings.NewReplacer("’", "'", ",", " ", "、", " ", "*", "").Replace(text)
	text = strings.Join(strings.Fields(text), " ")
	return slices.ContainsFunc(openings, func(o *regexp.Regexp) bool { return o.MatchString(text) })
}

// openings are how models begin a refusal: in lower case, narrow, without
// commas. Each names what is refused, so that "I can't find your order" and "I
// can't help but notice" are none.
var openings = []*regexp.Regexp{
	regexp.MustCompile(`^(?:(?:i'm|i am) (?:very |so |really |truly )?sorry[.!]? |sorry[.!]? |i apologi[sz]e[.!]? |my apologies[.!]? |unfortunately |as an ai(?: language model| assistant| model)? )?(?:but |as an ai(?: language model| assistant| model)? )?` +
		`(?:i can't|i cannot|i can not|i won't|i will not|i'm unable to|i am unable to|i'm not able to|i am not able to) ` +
		`(?:assist(?: you)? with|assist[.!]|help(?: you)? with (?:that|this|your request|the request|requests)|help[.!]|comply|fulfil|engage (?:in|with) (?:that|this)|` +
		`(?:do|provide|create|generate|write|discuss|answer|continue with) (?:that|this)(?: request| content| kind| type|[.!]|$))`),
	regexp.MustCompile(`^(?:(?:非常|很|十分)?(?:抱歉|对不起|不好意思|遗憾)[。.!]? ?)?(?:但)?(?:作为(?:一个|一名)?(?:ai|人工智能)[^。. ]{0,8} ?)?` +
		`我(?:无法|不能|没办法|没有办法)(?:协助(?:您|你)?(?:完成|处理)?(?:这个|该|此|这类|此类)|满足(?:这个|该|此|您的|你的)(?:请求|要求)|回答(?:这个|该|此|这类|此类|您的|你的)(?:问题)|` +
		`提供(?:这类|此类|这方面的|该类|相关)(?:信息|内容|帮助|服务)|讨论(?:这个|该|此|这类|此类)话题|生成(?:这类|此类|该)内容|(?:完成|处理|执行)(?:这个|该|此|您的|你的)(?:请求|要求)|帮助(?:您|你)(?:完成|处理)?(?:这个|该|此)(?:请求|要求))`),
}
