package statuspage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	patience     = 4 * time.Second
	longestPage  = 1 << 20
	mostHops     = 4
	summaryPath  = "api/v2/summary.json"
	acceptedType = "application/json"
)

// errPrivate refuses an address inside a private network.
var errPrivate = errors.New("the page leads into a private network")

// fetch reads the page at address: the address of its summary, if it ends in
// .json, or of the page. It follows redirects, but not from a public address
// into a private network: the page's owner must not choose what is asked there.
func fetch(ctx context.Context, address string) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	next, err := summaryURL(address)
	if err != nil {
		return Report{}, err
	}
	c := client(nil)
	for range mostHops {
		private := false
		resp, err := get(ctx, c, next, &private)
		if err != nil {
			return Report{}, fmt.Errorf("get %s: %w", next.Host, err)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, longestPage+1))
		resp.Body.Close()
		switch {
		case err != nil:
			return Report{}, fmt.Errorf("get %s: %w", next.Host, err)
		case resp.StatusCode >= 300 && resp.StatusCode < 400:
			if next, err = resp.Location(); err == nil {
				err = checkURL(next)
			}
			if err != nil {
				return Report{}, fmt.Errorf("follow redirect: %w", err)
			}
			if !private {
				c = publicClient()
			}
		case resp.StatusCode != http.StatusOK:
			return Report{}, fmt.Errorf("get %s: status %d", next.Host, resp.StatusCode)
		case len(body) > longestPage:
			return Report{}, fmt.Errorf("get %s: the summary is larger than %d bytes", next.Host, longestPage)
		default:
			return parse(body)
		}
	}
	return Report{}, fmt.Errorf("follow redirect: more than %d hops", mostHops)
}

// get asks one address and notes whether it lies in a private network.
func get(ctx context.Context, c *http.Client, at *url.URL, private *bool) (*http.Response, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if a, err := netip.ParseAddrPort(i.Conn.RemoteAddr().String()); err == nil {
			*private = isPrivate(a.Addr())
		}
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", acceptedType)
	resp, err := c.Do(req)
	if proxy, _ := http.ProxyFromEnvironment(req); proxy != nil {
		*private = false // the address is the proxy's
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the address, which the caller names in brief
	}
	return resp, err
}

func summaryURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("status_url is no address")
	}
	if err := checkURL(u); err != nil {
		return nil, fmt.Errorf("status_url: %w", err)
	}
	if !strings.HasSuffix(u.Path, ".json") {
		u = u.JoinPath(summaryPath)
	}
	return u, nil
}

func checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("want an http or https address")
	}
	return nil
}

// client returns a client that follows no redirect by itself. control, if not
// nil, sees each address before it is connected to.
func client(control func(network, address string, c syscall.RawConn) error) *http.Client {
	t := &http.Transport{
		DialContext:       (&net.Dialer{Timeout: patience, Control: control}).DialContext,
		DisableKeepAlives: true,
	}
	if control == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// publicClient refuses private addresses when it connects, after the name was
// resolved, so that no name can stand for one.
func publicClient() *http.Client {
	return client(func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || isPrivate(a.Addr()) {
			return errPrivate
		}
		return nil
	})
}

// shared is the address space between providers and their customers (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsGlobalUnicast() || a.IsPrivate() || shared.Contains(a)
}
