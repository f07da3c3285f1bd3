package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheGeneratedFileIsCurrent(t *testing.T) {
	schemas, err := load(os.DirFS("../../" + source))
	if err != nil {
		t.Fatal(err)
	}
	code, err := generate(schemas)
	if err != nil {
		t.Fatal(err)
	}
	current, err := os.ReadFile("../../" + target)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(current, code) {
		t.Errorf("%s is not what the schemas say: run make generate", target)
	}
}

func TestShapesThatItDoesNotKnowAreRefusedByProperty(t *testing.T) {
	for name, c := range map[string]struct{ property, want string }{
		"a number":                    {`{"type": "number"}`, `no Go type for type "number"`},
		"an enumeration without name": {`{"type": "string", "enum": ["a"]}`, "an enumeration needs x-go-type"},
		"a reference to nowhere":      {`{"$ref": "other.json"}`, `unknown $ref "other.json"`},
		"an array of anything":        {`{"type": "array"}`, `no Go type for type "array"`},
		"no type":                     {`{"description": "x"}`, `no Go type for type ""`},
	} {
		schemas, err := load(fstest.MapFS{"thing.json": {Data: []byte(`{"title": "Thing", "properties": {"part": ` + c.property + `}}`)}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = generate(schemas)
		if err == nil || err.Error() != "thing.json: property part: "+c.want {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestAFileThatIsNoSchemaIsNamed(t *testing.T) {
	_, err := load(fstest.MapFS{"thing.json": {Data: []byte(`{"title": 1}`)}})
	if err == nil || !strings.HasPrefix(err.Error(), "thing.json: ") {
		t.Errorf("got %v", err)
	}
}

func TestNamesBecomeGoNames(t *testing.T) {
	for name, want := range map[string]string{
		"first_token_ms": "FirstTokenMS", "Reply-To": "ReplyTo", "api_key_env": "APIKeyEnv", "traceparent": "Traceparent", "base_url": "BaseURL", "id": "ID",
	} {
		if got := goName(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
