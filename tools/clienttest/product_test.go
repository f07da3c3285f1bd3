package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestProductThatEndsEarlyIsReportedWithItsLog(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	_, err = launch(t.Context(), []string{tool, "no-such-command"}, t.TempDir(), "http://127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "before it was ready") || !strings.Contains(err.Error(), "no-such-command") {
		t.Errorf("want the early end and the log, got %v", err)
	}
}

func TestEnvironmentDoesNotSteerTheProductOrTheClients(t *testing.T) {
	t.Setenv("UNDERSTUDY_NATS_URL", "nats://elsewhere:4222")
	t.Setenv("OPENAI_BASE_URL", "https://elsewhere/v1")
	t.Setenv("CLIENTTEST_KEPT", "yes")
	env := strings.Join(environment(), "\n")
	if strings.Contains(env, "elsewhere") || !strings.Contains(env, "CLIENTTEST_KEPT=yes") {
		t.Errorf("want neither product nor client settings, got:\n%s", env)
	}
}

func TestFreePortsAreDistinct(t *testing.T) {
	ports, err := freePorts(8)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range ports {
		if seen[p] {
			t.Errorf("%s came twice", p)
		}
		seen[p] = true
	}
}

func TestUnknownSuiteIsAnErrorThatNamesTheKnown(t *testing.T) {
	if _, err := choose([]string{"cobol"}); err == nil || !strings.Contains(err.Error(), "python, node") {
		t.Errorf("want the known suites, got %v", err)
	}
	if got, err := choose([]string{"node"}); err != nil || len(got) != 1 || got[0].name != "node" {
		t.Errorf("want node alone, got %v (%v)", got, err)
	}
}
