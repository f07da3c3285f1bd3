package schemas_test

import (
	"os"
	"strings"
	"testing"
)

func TestTheReadmeNamesEverySubjectAndEveryHeader(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range read(t, "asyncapi.yaml")["channels"].(map[string]any) {
		address, ok := channel.(map[string]any)["address"].(string)
		if ok && !strings.Contains(string(readme), "`"+address+"`") {
			t.Errorf("subject %s is not in README.md", address)
		}
	}
	for name := range read(t, "headers.json")["properties"].(map[string]any) {
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("header %s is not in README.md", name)
		}
	}
}
