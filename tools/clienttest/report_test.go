package main

import (
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReportCountsTestsHoweverDeepTheyLie(t *testing.T) {
	got, err := readReport(write(t, "report.xml", `<?xml version="1.0" encoding="utf-8"?>
<testsuites>
	<testcase name="at the top" time="0.02" classname="test"/>
	<testsuite name="one"><testsuite name="two">
		<testcase name="deep"><system-out>said &lt;failure&gt;</system-out></testcase>
		<testcase name="wrong"><failure type="testCodeFailure" message="1 != 2">at line 3</failure></testcase>
		<testcase name="broken"><error message="fixture"/></testcase>
		<testcase name="left out"><skipped type="skipped"/></testcase>
	</testsuite></testsuite>
</testsuites>`))
	if want := (tally{passed: 2, failed: 3}); err != nil || got != want {
		t.Errorf("want %+v, got %+v (%v)", want, got, err)
	}
}

func TestReportWithoutTestsIsAnError(t *testing.T) {
	for name, content := range map[string]string{
		"empty": `<testsuites></testsuites>`, "cut": `<testsuites><testcase name="a"/>`, "nothing": ``,
	} {
		if got, err := readReport(write(t, "report.xml", content)); err == nil {
			t.Errorf("%s: want an error, got %+v", name, got)
		}
	}
	if _, err := readReport(filepath.Join(t.TempDir(), "absent.xml")); err == nil {
		t.Error("absent: want an error")
	}
}

func TestTallyWithoutPassedTestsIsAnError(t *testing.T) {
	for _, bad := range []tally{{}, {passed: 3, failed: 1}} {
		if bad.err() == nil {
			t.Errorf("%+v: want an error", bad)
		}
	}
	if err := (tally{passed: 1}).err(); err != nil {
		t.Error(err)
	}
}
