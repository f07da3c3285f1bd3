package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// view is what a command has to show: its JSON form is the value itself, its
// form for people are sections.
type view interface {
	sections() []section
}

// section is a part of a view: lines of text, a table, or both.
type section struct {
	title  string
	lines  []string
	header []string
	rows   [][]any
}

// show prints a view in the form that was asked for.
func (s *session) show(v view) error {
	if s.json {
		return s.showJSON(v, true)
	}
	for i, part := range v.sections() {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		if _, err := fmt.Fprint(s.out, part.text()); err != nil {
			return err
		}
	}
	return nil
}

// showJSON prints a value, over several lines or on one.
func (s *session) showJSON(v any, indent bool) error {
	enc := json.NewEncoder(s.out)
	enc.SetEscapeHTML(false)
	if indent {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

func (p section) text() string {
	var b strings.Builder
	if p.title != "" {
		b.WriteString(p.title + "\n")
	}
	for _, line := range p.lines {
		b.WriteString(line + "\n")
	}
	if len(p.rows) == 0 {
		return b.String()
	}
	w := table.NewWriter()
	w.SetStyle(plain())
	header := make(table.Row, len(p.header))
	for i, h := range p.header {
		header[i] = h
	}
	w.AppendHeader(header)
	for _, row := range p.rows {
		w.AppendRow(row)
	}
	for line := range strings.Lines(w.Render() + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// plain is a table without lines, easy on the eye and on grep.
func plain() table.Style {
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	return style
}

// age is how long ago something was, roughly.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Hour).String(), "0m0s")
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
