package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
)

// tally counts tests.
type tally struct{ passed, failed int }

func (t tally) err() error {
	switch {
	case t.failed > 0:
		return fmt.Errorf("%d of %d failed", t.failed, t.passed+t.failed)
	case t.passed == 0:
		return errors.New("no test ran")
	}
	return nil
}

// testcase is one test of a JUnit report.
type testcase struct {
	Failures []struct{} `xml:"failure"`
	Errors   []struct{} `xml:"error"`
	Skipped  []struct{} `xml:"skipped"`
}

// readReport counts the tests of a JUnit report, however deep they lie. A test
// that was skipped guards nothing and counts as failed. A report without tests
// is an error.
func readReport(file string) (tally, error) {
	var t tally
	f, err := os.Open(file)
	if err != nil {
		return t, fmt.Errorf("read the report: %w", err)
	}
	defer f.Close()
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return t, fmt.Errorf("read the report: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "testcase" {
			continue
		}
		var c testcase
		if err := d.DecodeElement(&c, &start); err != nil {
			return t, fmt.Errorf("read the report: %w", err)
		}
		if len(c.Failures)+len(c.Errors)+len(c.Skipped) > 0 {
			t.failed++
		} else {
			t.passed++
		}
	}
	if t == (tally{}) {
		return t, errors.New("the report has no tests")
	}
	return t, nil
}
