package archtest

import (
	"strings"
	"testing"
)

func TestTheModuleIsRead(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		seen[p.path] = true
	}
	for _, want := range []string{"pkg/dispatch", "pkg/bus", "pkg/provider/openai", "schemas", "tools/archtest"} {
		if !seen[want] {
			t.Errorf("%s is not among the packages: these tests look at the wrong tree, mend packages()", want)
		}
	}
}

func TestDispatchImportsTheStandardLibraryOnly(t *testing.T) {
	for _, p := range packages(t) {
		if !p.is("pkg/dispatch") {
			continue
		}
		for _, i := range p.Imports {
			if first, _, _ := strings.Cut(i, "/"); first == module || strings.Contains(first, ".") {
				t.Errorf("%s imports %s: the domain imports the standard library only; move what needs it to a package above", p.path, i)
			}
		}
	}
}

// Tests of services and tools may be NATS clients, as users are; tools/bench
// measures against bare JetStream.
func TestOnlyBusImportsNATS(t *testing.T) {
	for _, p := range packages(t) {
		if p.is("pkg/bus", "tools/bench") {
			continue
		}
		imports := p.Imports
		if p.is("pkg", "schemas") {
			imports = p.allImports()
		}
		for _, i := range imports {
			if strings.HasPrefix(i, "github.com/nats-io/") {
				t.Errorf("%s imports %s: give pkg/bus a method for what it needs and call that", p.path, i)
			}
		}
	}
}

func TestNoProviderImportsAnother(t *testing.T) {
	const folder = "pkg/provider/"
	for _, p := range packages(t) {
		vendor, ok := strings.CutPrefix(p.path, folder)
		if !ok {
			continue
		}
		vendor, _, _ = strings.Cut(vendor, "/")
		for _, i := range p.allImports() {
			other, ok := strings.CutPrefix(i, module+"/"+folder)
			if !ok || within(other, vendor) || vendor != "providertest" && other == "providertest" {
				continue
			}
			t.Errorf("%s imports %s: an adapter stands alone; move what both need to pkg/chat or a package of its own", p.path, i)
		}
	}
}

func TestLibrariesImportNoServiceAndNoTool(t *testing.T) {
	for _, p := range packages(t) {
		if !p.is("pkg", "schemas") {
			continue
		}
		for _, i := range p.Imports {
			if folder, ok := local(i); ok && within(folder, "services", "tools") {
				t.Errorf("%s imports %s: imports go downward; move the code that is needed to pkg", p.path, i)
			}
		}
		for _, i := range p.testImports() {
			if folder, ok := local(i); ok && within(folder, "services", "tools") && folder != "tools/fakeprovider/fake" {
				t.Errorf("a test of %s imports %s: a library's tests may use tools/fakeprovider/fake and no other tool", p.path, i)
			}
		}
	}
}

func TestServicesImportNoOtherServiceButStandalone(t *testing.T) {
	for _, p := range packages(t) {
		service, ok := strings.CutPrefix(p.path, "services/")
		if !ok {
			continue
		}
		service, _, _ = strings.Cut(service, "/")
		if service == "standalone" {
			continue
		}
		for _, i := range p.allImports() {
			if folder, ok := local(i); ok && within(folder, "services") && !within(folder, "services/"+service) {
				t.Errorf("%s imports %s: services meet at the broker; move what both need to pkg", p.path, i)
			}
		}
	}
}
