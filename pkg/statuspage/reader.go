package statuspage

import (
	"context"
	"sync"
	"time"
)

const (
	// keep is how long a report is good for before the page is read again.
	keep = 30 * time.Second
	// stale is the age from which a report says nothing about now.
	stale = 2 * time.Minute
)

// Reader reads status pages and remembers what they said, so that no page is
// asked more often than every 30 s. It is safe for concurrent use.
type Reader struct {
	mu    sync.Mutex
	pages map[string]*page
}

// page is held while it is being read: who else wants it waits for the answer.
type page struct {
	reading chan struct{} // holds the right to read it

	mu   sync.Mutex
	last Report
}

// NewReader returns a reader that has read nothing yet.
func NewReader() *Reader { return &Reader{pages: map[string]*page{}} }

// Known returns what a page said last, without reading it; None when it was
// not read lately. fresh is false once it is time to read it again.
func (r *Reader) Known(address string, now time.Time) (report Report, fresh bool) {
	report = r.page(address).known()
	age := now.Sub(report.At)
	if report.Verdict == None || age > stale {
		return Report{}, false
	}
	return report, age < keep
}

// Read returns what the page at address says, from memory if it was read less
// than 30 s ago. A page that cannot be read is Unreachable. It takes at most a
// few seconds.
func (r *Reader) Read(ctx context.Context, address string) Report {
	p := r.page(address)
	select {
	case p.reading <- struct{}{}:
		defer func() { <-p.reading }()
	case <-ctx.Done():
		return Report{Verdict: Unreachable, Problem: ctx.Err().Error(), At: time.Now()}
	}
	if report, fresh := r.Known(address, time.Now()); fresh {
		return report
	}
	report, err := fetch(ctx, address)
	if err != nil {
		report = Report{Verdict: Unreachable, Problem: err.Error()}
	}
	report.At = time.Now()
	if ctx.Err() == nil {
		p.mu.Lock()
		p.last = report
		p.mu.Unlock()
	}
	return report
}

func (r *Reader) page(address string) *page {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[address]
	if p == nil {
		p = &page{reading: make(chan struct{}, 1)}
		r.pages[address] = p
	}
	return p
}

func (p *page) known() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}
