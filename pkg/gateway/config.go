package gateway

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"understudy/pkg/bus"
)

// Config says where the front door is and who may pass. The zero value listens
// on loopback without keys.
type Config struct {
	// Addr is where HTTP is served, host:port. Beyond loopback APIKeysFile is
	// required.
	Addr string `env:"UNDERSTUDY_HTTP_ADDR" envDefault:"127.0.0.1:8080"`
	// MaxBody is the largest request body, in bytes; 0 means what the broker
	// takes in one message, less 64 KiB for headers.
	MaxBody int64 `env:"UNDERSTUDY_HTTP_MAX_BODY"`
	// Drain is how long requests in flight may take once the gateway is told to
	// stop; 0 means 30 s. What is left then stays in its queue, uncancelled.
	Drain time.Duration `env:"UNDERSTUDY_HTTP_DRAIN" envDefault:"30s"`
	// APIKeysFile holds one key per line. When it is set, callers present one of
	// them as a bearer token.
	APIKeysFile string `env:"UNDERSTUDY_HTTP_API_KEYS_FILE"`
}

// headroom is what a request's headers may take beside its body.
const headroom = 64 << 10

// complete fills in what was left to the defaults and refuses what is unsafe.
func (c Config) complete(b *bus.Bus) (Config, error) {
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:8080")
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	if c.MaxBody == 0 {
		payload := b.MaxPayload()
		c.MaxBody = max(payload-headroom, payload/2)
	}
	if c.MaxBody < 1 {
		return c, fmt.Errorf("UNDERSTUDY_HTTP_MAX_BODY %d: want a number of bytes above 0", c.MaxBody)
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return c, fmt.Errorf("UNDERSTUDY_HTTP_ADDR %q: want host:port: %w", c.Addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && c.APIKeysFile == "" {
		return c, fmt.Errorf("UNDERSTUDY_HTTP_ADDR %q is reachable from other machines: set UNDERSTUDY_HTTP_API_KEYS_FILE to a file with one key per line, or listen on 127.0.0.1", c.Addr)
	}
	return c, nil
}

// keyring holds the digests of the keys that open the door; empty, it is open.
type keyring [][sha256.Size]byte

func readKeys(file string) (keyring, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read UNDERSTUDY_HTTP_API_KEYS_FILE: %w", err)
	}
	var keys keyring
	for line := range bytes.Lines(data) {
		if key := bytes.TrimSpace(line); len(key) > 0 {
			keys = append(keys, sha256.Sum256(key))
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("UNDERSTUDY_HTTP_API_KEYS_FILE holds no key: write one key per line")
	}
	return keys, nil
}
