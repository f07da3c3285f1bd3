package statuspage

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPagesAreReadLeniently(t *testing.T) {
	for _, c := range []struct {
		name, body string
		verdict    Verdict
		incidents  []string
	}{
		{"all is well", `{"status":{"indicator":"none","description":"All Systems Operational"},"incidents":[]}`, Operational, nil},
		{"a minor incident", `{"status":{"indicator":"minor"},"incidents":[{"name":"Slow answers","status":"monitoring"}]}`, Degraded, []string{"Slow answers"}},
		{"maintenance", `{"status":{"indicator":"maintenance"}}`, Degraded, nil},
		{"a critical incident, and one that is over", `{"status":{"indicator":"critical"},"incidents":[{"name":"Old","status":"resolved"},{"name":"API errors"}]}`, Outage, []string{"API errors"}},
		{"incidents of another shape", `{"status":{"indicator":"major"},"incidents":{"open":3}}`, Outage, nil},
		{"fields nobody knows", `{"page":{"id":1},"status":{"indicator":"none"},"components":[1,null],"incidents":null}`, Operational, nil},
	} {
		got, err := parse([]byte(c.body))
		if err != nil || got.Verdict != c.verdict || !slices.Equal(got.Incidents, c.incidents) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for _, body := range []string{``, `<html>`, `{}`, `[]`, `{"status":"ok"}`, `{"status":{"indicator":"purple"}}`} {
		if got, err := parse([]byte(body)); err == nil {
			t.Errorf("%q: %+v, want an error", body, got)
		}
	}
}

func TestLongNamesOfIncidentsAreCut(t *testing.T) {
	names := strings.Repeat(`{"name":"`+strings.Repeat("é", 1000)+`"},`, 20)
	got, err := parse([]byte(`{"status":{"indicator":"major"},"incidents":[` + strings.TrimSuffix(names, ",") + `]}`))
	if err != nil || len(got.Incidents) != mostIncidents || got.Incidents[0] != strings.Repeat("é", longestName) {
		t.Errorf("%d incidents, %v", len(got.Incidents), err)
	}
}

// site serves a page, and counts how often it is asked.
func site(t *testing.T, handle http.HandlerFunc) (address string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

const critical = `{"status":{"indicator":"critical"},"incidents":[{"name":"API errors"}]}`

func TestSummaryIsFoundByThePageAddressAndByItsOwn(t *testing.T) {
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v2/summary.json" && r.URL.Path != "/own.json" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, critical)
	})
	for _, path := range []string{"", "/", "/own.json", "/api/v2/summary.json"} {
		if got := NewReader().Read(t.Context(), address+path); got.Verdict != Outage || !slices.Equal(got.Incidents, []string{"API errors"}) {
			t.Errorf("%q: %+v", path, got)
		}
	}
}

func TestPageIsAskedOnceByManyReaders(t *testing.T) {
	address, asked := site(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, critical) })
	r := NewReader()
	var reading sync.WaitGroup
	for range 10 {
		reading.Go(func() {
			if got := r.Read(t.Context(), address); got.Verdict != Outage {
				t.Errorf("%+v", got)
			}
		})
	}
	reading.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestReportsGrowOldAndAreForgotten(t *testing.T) {
	address, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, critical) })
	r := NewReader()
	if _, fresh := r.Known(address, time.Now()); fresh {
		t.Error("fresh before it was read")
	}
	read := r.Read(t.Context(), address)
	for age, want := range map[time.Duration]struct {
		verdict Verdict
		fresh   bool
	}{time.Second: {Outage, true}, 40 * time.Second: {Outage, false}, time.Hour: {None, false}} {
		if got, fresh := r.Known(address, read.At.Add(age)); got.Verdict != want.verdict || fresh != want.fresh {
			t.Errorf("after %v: %+v, fresh %t", age, got, fresh)
		}
	}
}

func TestPageThatCannotBeReadIsUnreachableWithTheProblem(t *testing.T) {
	huge, _ := site(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":{"indicator":"none"},"x":"`+strings.Repeat("x", longestPage)+`"}`)
	})
	broken, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	web, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	round, _ := site(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) })
	away, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	for address, want := range map[string]string{
		huge: "larger than", broken: "status 502", web: "no Statuspage JSON", round: "hops", away: "http or https",
		"ftp://example.com": "http or https", "http://127.0.0.1:1": "refused",
	} {
		if got := NewReader().Read(t.Context(), address); got.Verdict != Unreachable || !strings.Contains(got.Problem, want) {
			t.Errorf("%s: %+v, want %q", address, got, want)
		}
	}
}

func TestPrivatePageMayRedirectWithinItsNetwork(t *testing.T) {
	target, _ := site(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, critical) })
	address, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target+"/summary.json", http.StatusMovedPermanently)
	})
	if got := NewReader().Read(t.Context(), address); got.Verdict != Outage {
		t.Errorf("%+v", got)
	}
}

func TestRedirectOfAPublicPageReachesNoPrivateAddress(t *testing.T) {
	address, asked := site(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, critical) })
	at, err := summaryURL(address)
	if err != nil {
		t.Fatal(err)
	}
	private := false
	resp, err := get(t.Context(), publicClient(), at, &private)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, errPrivate) || asked.Load() != 0 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}

func TestPrivateAddressesAreKnown(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1": true, "10.1.2.3": true, "192.168.0.1": true, "172.16.0.1": true, "169.254.169.254": true, "100.100.100.200": true,
		"0.0.0.0": true, "::1": true, "fd00::1": true, "fe80::1": true, "::ffff:127.0.0.1": true, "224.0.0.1": true,
		"8.8.8.8": false, "2606:4700::1111": false,
	} {
		if got := isPrivate(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: private %t", address, got)
		}
	}
}
