package openai

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"understudy/pkg/dispatch"
)

// Streaming says when the endpoint is asked to stream.
type Streaming string

// The choices of Streaming.
const (
	// Always streams, even when nobody listens: tokens are the only sign of
	// life that a model at work gives. It is the default.
	Always Streaming = "always"
	// AsAsked streams when somebody listens to the tokens.
	AsAsked Streaming = "as_asked"
)

// Config describes one endpoint.
type Config struct {
	// Name is the worker's name in errors; "openai" when empty.
	Name string
	// BaseURL is what comes before /chat/completions: https://api.openai.com/v1.
	// A query stays where it is.
	BaseURL string
	// APIKey is sent as a bearer token; none is sent when empty. It appears in
	// no error.
	APIKey string
	// Model replaces the request's model; empty leaves it as it is.
	Model string
	// Streaming is Always when empty.
	Streaming Streaming
	// HTTPClient is used instead of one made for the purpose. Its redirect
	// policy is not: redirects that leave the host are never followed.
	HTTPClient *http.Client
	// Headers are sent with every call; they replace those of the adapter. Their
	// values are kept out of errors, as the key is.
	Headers map[string]string
	// Codes says what error codes, error types and HTTP statuses of this endpoint
	// mean, before the adapter's own table.
	Codes map[string]dispatch.Kind
	// ConnectTimeout bounds connecting and the TLS handshake, each; 10 s when
	// zero. It has no effect on a given HTTPClient.
	ConnectTimeout time.Duration
	// MaxAnswer bounds the bytes read for one answer; 32 MiB when zero.
	MaxAnswer int64
	// Now is the clock by which a Retry-After date is read; time.Now when nil.
	Now func() time.Time
}

const (
	defaultConnectTimeout = 10 * time.Second
	defaultMaxAnswer      = 32 << 20
	idleConnsPerHost      = 256
	maxRedirects          = 3
)

// check returns the endpoint's URL, or an error that names the field at fault.
func (c Config) check() (*url.URL, error) {
	if c.BaseURL == "" {
		return nil, errors.New("base_url is missing: give the address before /chat/completions, such as https://api.openai.com/v1")
	}
	base, err := url.Parse(strings.TrimSpace(c.BaseURL))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("base_url is no http or https address: give one such as https://api.openai.com/v1")
	}
	switch c.Streaming {
	case "", Always, AsAsked:
	default:
		return nil, fmt.Errorf("streaming %q is unknown: give %q or %q", c.Streaming, Always, AsAsked)
	}
	if c.MaxAnswer < 0 || c.ConnectTimeout < 0 {
		return nil, errors.New("max_answer and connect_timeout must not be negative")
	}
	return base.JoinPath("chat/completions"), nil
}

// client returns the HTTP client of an endpoint.
func (c Config) client() *http.Client {
	client := &http.Client{}
	if c.HTTPClient != nil {
		*client = *c.HTTPClient
	} else {
		client.Transport = c.transport()
	}
	client.CheckRedirect = stayOnHost
	return client
}

func (c Config) transport() *http.Transport {
	timeout := c.ConnectTimeout
	if timeout == 0 {
		timeout = defaultConnectTimeout
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   timeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   idleConnsPerHost,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// A compressed stream comes in blocks, so its tokens come late.
		DisableCompression: true,
		// One dead HTTP/2 connection would hang every call that shares it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// stayOnHost follows a redirect that keeps the host, the scheme and the method.
// Any other comes back as the answer it is: the key and the caller's words go
// nowhere the configuration does not name.
func stayOnHost(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme || next.Method != first.Method {
		return http.ErrUseLastResponse
	}
	return nil
}
