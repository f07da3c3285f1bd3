package chat_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// join has a seam join a continuation that comes in pieces of n characters.
func join(said, continuation string, exact bool, n int) (string, error) {
	seam := chat.NewSeam(said, exact)
	whole := said
	runes := []rune(continuation)
	for len(runes) > 0 {
		cut := min(n, len(runes))
		fresh, err := seam.Add(string(runes[:cut]))
		if err != nil {
			return "", err
		}
		whole += fresh
		runes = runes[cut:]
	}
	fresh, err := seam.End()
	return whole + fresh, err
}

func TestContinuationIsJoinedWithoutItsRepetition(t *testing.T) {
	for _, c := range []struct{ name, said, continuation, want string }{
		{"nothing repeated", "The capital of France", " is Paris.", "The capital of France is Paris."},
		{"in the middle of a word", "hel", "lo", "hello"},
		{"in the middle of a word, by chance alike", "It was the bal", "loon", "It was the balloon"},
		{"the broken word again", "The capital is Par", "Paris, on the Seine", "The capital is Paris, on the Seine"},
		{"the last words again", "The capital of France is", "of France is Paris", "The capital of France is Paris"},
		{"the last words again, after a space", "The capital of France is", " of France is Paris", "The capital of France is Paris"},
		{"the last words again, on a new line", "The capital of France is", "\n\nof France is Paris", "The capital of France is Paris"},
		{"from a comma on", "red, green", ", green and blue", "red, green and blue"},
		{"the whole answer again", "The capital of France", "The capital of France is Paris.", "The capital of France is Paris."},
		{"a short answer again", "I", "I think so", "I think so"},
		{"the whole answer again, and no more", "Yes, it is.", "Yes, it is.", "Yes, it is."},
		{"nothing more", "Yes, it is.", "", "Yes, it is."},
		{"nothing but space", "one", " \n", "one \n"},
		{"a line again", "1. one\n2. two\n", "2. two\n3. three", "1. one\n2. two\n3. three"},
		{"a bullet again", "- one\n- ", "- two", "- one\n- two"},
		{"an indentation again", "if x:\n    ", "    return", "if x:\n    return"},
		{"a space again", "one ", " two", "one two"},
		{"Chinese, nothing repeated", "今天天气很", "好，我们去公园", "今天天气很好，我们去公园"},
		{"Chinese, by chance alike", "她喜欢妈", "妈做的菜", "她喜欢妈妈做的菜"},
		{"Chinese, words repeated", "今天天气很好", "天气很好，我们去公园", "今天天气很好，我们去公园"},
		{"Chinese, from the beginning", "今天天气", "今天天气很好", "今天天气很好"},
		{"Chinese among Latin", "用 Python 写", "Python 写一个函数", "用 Python 写一个函数"},
		{"emoji, nothing repeated", "well done 🎉", "🎉🎉!", "well done 🎉🎉🎉!"},
		{"emoji among words", "well done 🎉 my", "done 🎉 my friend 👩‍👩‍👧", "well done 🎉 my friend 👩‍👩‍👧"},
		{"a family is not torn", "the 👩‍", "👩‍👧 family", "the 👩‍👩‍👧 family"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 1000} {
				if got, err := join(c.said, c.continuation, false, n); err != nil || got != c.want {
					t.Errorf("in pieces of %d: got %q, %v, want %q", n, got, err, c.want)
				}
			}
		})
	}
}

func TestExactContinuationLosesSpaceAndTheWholeAnswerAlone(t *testing.T) {
	for _, c := range []struct{ name, said, continuation, want string }{
		{"letters", "a", "aardvark", "aaardvark"},
		{"words", "that that", " that", "that that that"},
		{"a bullet", "- one\n- ", "- two", "- one\n- - two"},
		{"space that the prefill lost", "one ", " two", "one two"},
		{"a line that the prefill lost", "one\n", "\n\ntwo", "one\n\ntwo"},
		{"lines that are alike", "| name | value |\n| name |", " value |\n| name | value |", "| name | value |\n| name | value |\n| name | value |"},
		{"whole lines that are alike", "[\n  increment(counter)\n", "  increment(counter)\n]", "[\n  increment(counter)\n  increment(counter)\n]"},
		{"the whole answer", "The capital", "The capital is Paris", "The capital is Paris"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 1000} {
				if got, err := join(c.said, c.continuation, true, n); err != nil || got != c.want {
					t.Errorf("in pieces of %d: got %q, %v, want %q", n, got, err, c.want)
				}
			}
		})
	}
}

func TestAnswerBegunAgainInOtherWordsIsNotJoined(t *testing.T) {
	said := "Paris is the capital of France, and it lies on the Seine. It has"
	if got, err := join(said, "Paris is the capital of France and of fashion.", false, 3); dispatch.KindOf(err) != dispatch.Refused {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestContinuationFlowsOnceItIsKnownToRepeatNothing(t *testing.T) {
	seam := chat.NewSeam("The capital of France", false)
	for _, c := range []struct{ add, want string }{{" ", ""}, {"of", ""}, {" all", " of all"}, {" that", " that"}} {
		if got, err := seam.Add(c.add); err != nil || got != c.want {
			t.Errorf("after %q: got %q, %v, want %q", c.add, got, err, c.want)
		}
	}
}

// words draws text in which no word comes twice, so that nothing overlaps but
// what a test lets overlap.
func words(t *rapid.T, name string) []string {
	shapes := []string{"word%d", "第%d章", "%dé", "naïve%d,", "🎉%dth", "\n\n%d.", "x%d👩‍👩‍👧", "\t%d"}
	offset := map[string]int{"said": 1000, "rest": 5000}[name]
	drawn := rapid.SliceOfN(rapid.SampledFrom(shapes), 3, 30).Draw(t, name)
	for i, shape := range drawn {
		drawn[i] = fmt.Sprintf(shape, offset+i) + " "
	}
	return drawn
}

func TestWhateverIsRepeatedTheWholeIsTheAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said, rest := words(t, "said"), strings.Join(words(t, "rest"), "")
		from := rapid.IntRange(0, len(said)).Draw(t, "repeated from word")
		before := strings.Join(said, "")
		whole := before + rest
		n := rapid.IntRange(1, 50).Draw(t, "piece")
		continuation := strings.Join(said[from:], "") + rest
		got, err := join(before, continuation, false, n)
		// White space at the seam may be taken for a repetition.
		if err != nil || strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(whole), " ") {
			t.Fatalf("got  %q, %v\nwant %q", got, err, whole)
		}
		if from < len(said) && got != whole {
			t.Fatalf("got  %q\nwant %q", got, whole)
		}
	})
}

func TestNothingIsLostButARepetition(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab \n.妈🎉")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		said, continuation, exact := text.Draw(t, "said"), text.Draw(t, "continuation"), rapid.Bool().Draw(t, "exact")
		got, err := join(said, continuation, exact, 1000)
		if err != nil {
			t.Fatal(err)
		}
		fresh, ok := strings.CutPrefix(got, said)
		if !ok || !strings.HasSuffix(continuation, fresh) || !utf8.ValidString(fresh) {
			t.Fatalf("%q and %q made %q", said, continuation, got)
		}
		lost := strings.TrimSuffix(continuation, fresh)
		if !strings.HasSuffix(said, lost) && !strings.HasSuffix(said, strings.TrimLeft(lost, " \n")) {
			t.Fatalf("%q was taken for a repetition of %q", lost, said)
		}
		n := rapid.IntRange(1, 5).Draw(t, "piece")
		if pieces, err := join(said, continuation, exact, n); err != nil || pieces != got {
			t.Fatalf("at once %q, in pieces of %d %q, %v", got, n, pieces, err)
		}
	})
}
