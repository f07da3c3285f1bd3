package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"understudy/pkg/wire"
	"understudy/schemas"
)

// read decodes one of the embedded documents.
func read(t *testing.T, file string) map[string]any {
	t.Helper()
	data, err := schemas.FS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if strings.HasSuffix(file, ".json") {
		err = json.Unmarshal(data, &doc)
	} else {
		err = yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&doc)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return doc
}

// part follows a JSON pointer, such as /components/schemas/error.
func part(doc map[string]any, pointer string) (any, error) {
	var at any = doc
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		object, _ := at.(map[string]any)
		next, ok := object[key]
		if !ok {
			return nil, fmt.Errorf("nothing at %q of %s", key, pointer)
		}
		at = next
	}
	return at, nil
}

// references calls see with each $ref of a document and where it stands.
func references(at string, node any, see func(at, ref string)) {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if ref, ok := value.(string); ok && key == "$ref" {
				see(at, ref)
				continue
			}
			references(at+"/"+key, value, see)
		}
	case []any:
		for i, value := range node {
			references(fmt.Sprint(at, "/", i), value, see)
		}
	}
}

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	doc := read(t, "asyncapi.yaml")
	used := map[string]bool{}
	references("", doc, func(at, ref string) {
		used[ref] = true
		file, pointer, inside := strings.Cut(ref, "#")
		target := doc
		if file != "" {
			target = read(t, file)
		}
		if !inside {
			return
		}
		if _, err := part(target, pointer); err != nil {
			t.Errorf("%s: $ref %s: %v", at, ref, err)
		}
	})
	for _, kind := range []string{"messages", "schemas", "parameters"} {
		components, err := part(doc, "/components/"+kind)
		if err != nil {
			t.Fatal(err)
		}
		for name := range components.(map[string]any) {
			if !used["#/components/"+kind+"/"+name] {
				t.Errorf("components/%s/%s is used nowhere", kind, name)
			}
		}
	}
	for name := range doc["channels"].(map[string]any) {
		if !used["#/channels/"+name] {
			t.Errorf("channel %s has no operation", name)
		}
	}
}

// builders is every function of pkg/wire that builds a subject, called with
// the parameters of its channel.
var builders = map[string]string{
	"RequestSubject":    wire.RequestSubject("{route}"),
	"AskSubject":        wire.AskSubject("{route}"),
	"TokensSubject":     wire.TokensSubject("{id}"),
	"CancelSubject":     wire.CancelSubject("{id}"),
	"InFlightSubject":   wire.InFlightSubject("{id}"),
	"HealthSubject":     wire.HealthSubject("{worker}", "{instance}"),
	"DeadLetterSubject": wire.DeadLetterSubject("{route}", "{reason}"),
	"EventSubject":      wire.EventSubject("{kind}", "{name}"),
	"HedgeSubject":      wire.HedgeSubject("{route}", "{worker}"),
	"RetrySubject":      wire.RetrySubject("{route}", "{dedupe}"),
}

// lanes is the subject of every sort of lane.
var lanes = []string{
	wire.Lane("{lane}").Subject("{route}"),
	wire.HandoffLane("{worker}").Subject("{route}"),
	wire.LaneParked.Subject("{route}"),
	wire.LaneRetry.Subject("{route}"),
}

// buckets is the key of every bucket of pkg/wire, by the name of its constant.
var buckets = map[string]string{
	"BucketOwners":     key(wire.BucketOwners, wire.Lane("{lane}").OwnerKey("{route}")),
	"BucketRoutes":     key(wire.BucketRoutes, "{name}"),
	"BucketWorkers":    key(wire.BucketWorkers, "{name}"),
	"BucketAccepted":   key(wire.BucketAccepted, "{id}"),
	"BucketSuspects":   key(wire.BucketSuspects, "{id}"),
	"BucketSupervisor": key(wire.BucketSupervisor, "leader"),
	"BucketLimits":     key(wire.BucketLimits, "{worker}"),
	"BucketSettings":   key(wire.BucketSettings, "{name}"),
	"BucketDiagnoses":  key(wire.BucketDiagnoses, "{worker}"),
}

// results is the key of a result in each durability class.
var results = []string{
	key(wire.ResultsBucket(wire.DurabilityStrict), "{id}"),
	key(wire.ResultsBucket(wire.DurabilityFast), "{id}"),
	key(wire.ResultsBucket(wire.DurabilityMemory), "{id}"),
}

func key(bucket, name string) string { return "$KV." + bucket + "." + name }

func TestTheChannelsAreTheSubjectsOfTheCode(t *testing.T) {
	want := slices.Concat(slices.Collect(maps.Values(builders)), lanes, slices.Collect(maps.Values(buckets)), results)
	var got []string
	for name, channel := range read(t, "asyncapi.yaml")["channels"].(map[string]any) {
		c := channel.(map[string]any)
		if address, ok := c["address"].(string); ok {
			got = append(got, address)
			parameters, _ := c["parameters"].(map[string]any)
			for parameter := range parameters {
				if !strings.Contains(address, "{"+parameter+"}") {
					t.Errorf("channel %s: parameter %s is not in %s", name, parameter, address)
				}
			}
			if n := strings.Count(address, "{"); n != len(parameters) {
				t.Errorf("channel %s: %s has %d parameters, %d are described", name, address, n, len(parameters))
			}
		}
	}
	for _, subject := range want {
		if !slices.Contains(got, subject) {
			t.Errorf("the code uses %s: add a channel to asyncapi.yaml", subject)
		}
	}
	for _, address := range got {
		if !slices.Contains(want, address) {
			t.Errorf("no code uses %s: remove its channel from asyncapi.yaml, or name its builder here", address)
		}
	}
}

// TestNoSubjectOrBucketOfTheCodeIsForgottenHere reads the source of pkg/wire,
// so that the tables above cannot fall behind it.
func TestNoSubjectOrBucketOfTheCodeIsForgottenHere(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../pkg/wire/subject.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if name := d.Name.Name; d.Recv == nil && strings.HasSuffix(name, "Subject") && builders[name] == "" {
				t.Errorf("wire.%s: add it to builders", name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if ok && strings.HasPrefix(v.Names[0].Name, "Bucket") && buckets[v.Names[0].Name] == "" {
					t.Errorf("wire.%s: add it to buckets", v.Names[0].Name)
				}
			}
		}
	}
}

func TestEveryHeaderAndEveryMessageIsInTheDocument(t *testing.T) {
	doc := read(t, "asyncapi.yaml")
	used := map[string]bool{}
	references("", doc, func(_, ref string) { used[ref] = true })
	for name := range read(t, "headers.json")["properties"].(map[string]any) {
		if !used["headers.json#/properties/"+name] {
			t.Errorf("header %s is on no message", name)
		}
	}
	for _, s := range []wire.Schema{
		wire.SchemaAttempt, wire.SchemaDeadLetter, wire.SchemaEvent, wire.SchemaHealth, wire.SchemaOwnership,
		wire.SchemaRequest, wire.SchemaResult, wire.SchemaRoute, wire.SchemaWorker,
	} {
		if !used[string(s)+".json"] {
			t.Errorf("%s.json is the payload of no message", s)
		}
	}
}

func TestParametersListTheValuesThatTheCodeKnows(t *testing.T) {
	doc := read(t, "asyncapi.yaml")
	kinds, err := part(read(t, "event.json"), "/properties/kind/enum")
	if err != nil {
		t.Fatal(err)
	}
	var numbers []any
	for n := range wire.Lanes {
		numbers = append(numbers, string(wire.NumberedLane(n)))
	}
	for pointer, want := range map[string][]any{
		"/channels/events/parameters/kind/enum": kinds.([]any),
		"/channels/lanes/parameters/lane/enum":  numbers,
	} {
		got, err := part(doc, pointer)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.([]any), want) {
			t.Errorf("%s: got %v, want %v", pointer, got, want)
		}
	}
}
