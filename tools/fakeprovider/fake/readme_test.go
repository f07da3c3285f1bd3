package fake

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestReadmeTellsEveryKindWithItsSettings(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([a-z_]+)`")
	for kind, settings := range fields {
		_, row, found := strings.Cut(string(readme), "| `"+string(kind)+"` |")
		if !found {
			t.Errorf("kind %s is missing", kind)
			continue
		}
		column, _, _ := strings.Cut(row, "|")
		told := []string{}
		for _, match := range quoted.FindAllStringSubmatch(column, -1) {
			told = append(told, match[1])
		}
		if !slices.Equal(told, settings) {
			t.Errorf("kind %s takes %v, the README says %v", kind, settings, told)
		}
	}
}

func TestReadmeExamplesAreValid(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	lists := regexp.MustCompile(`(?s)faults -d '(\[.*?\])'`).FindAllSubmatch(readme, -1)
	models := regexp.MustCompile(`"model": "([^"]+:fault=[^"]+)"`).FindAllSubmatch(readme, -1)
	if len(lists) != 2 || len(models) != 2 {
		t.Fatalf("want two lists and two model names, found %d and %d", len(lists), len(models))
	}
	for _, list := range lists {
		if _, err := ParseFaults(list[1]); err != nil {
			t.Errorf("%s: %v", list[1], err)
		}
	}
	for _, model := range models {
		if _, fault, err := ParseModel(string(model[1])); err != nil || fault == nil {
			t.Errorf("%s: %v", model[1], err)
		}
	}
}
