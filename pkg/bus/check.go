package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"understudy/pkg/wire"
)

// minimumServer is the oldest broker with prioritized pulls.
const minimumServer = "2.12.0"

// Finding is something about the broker that an operator should know.
type Finding struct {
	// Name of the check.
	Name string `json:"name"`
	// OK is false when the promise does not hold as things are.
	OK bool `json:"ok"`
	// Detail says what was seen, and what to do when it is not OK.
	Detail string `json:"detail"`
}

// Findings checks the broker: its version, and that it writes durably.
func (b *Bus) Findings(ctx context.Context, monitorURL string) []Finding {
	return []Finding{b.checkVersion(), b.checkSync(ctx, monitorURL)}
}

func (b *Bus) checkVersion() Finding {
	version := b.nc.ConnectedServerVersion()
	f := Finding{Name: "broker version", OK: atLeast(version, minimumServer), Detail: version}
	if !f.OK {
		f.Detail = fmt.Sprintf("nats-server %s is too old: Understudy needs %s or newer for prioritized pulls", version, minimumServer)
	}
	return f
}

// checkSync asks the monitoring endpoint, since a plain account cannot see how
// its broker writes.
func (b *Bus) checkSync(ctx context.Context, monitorURL string) Finding {
	const name = "broker syncs every write"
	if b.server != nil {
		if b.server.JetStreamConfig().SyncAlways {
			return Finding{name, true, "embedded broker, sync always"}
		}
		return Finding{name, false, "embedded broker without sync always: a power cut loses acknowledged requests"}
	}
	if monitorURL == "" {
		if note, err := b.readBrokerNote(ctx); err == nil && note.Server == b.nc.ConnectedServerId() && note.SyncAlways {
			return Finding{name, true, "embedded broker of another process, sync always"}
		}
		return Finding{name, false, "unknown: set UNDERSTUDY_NATS_MONITOR_URL to the broker's monitoring address so that sync_interval can be checked; without `sync_interval: always` a power cut loses acknowledged requests"}
	}
	always, err := syncAlways(ctx, monitorURL)
	switch {
	case err != nil:
		return Finding{name, false, fmt.Sprintf("unknown: ask %s: %v", monitorURL, err)}
	case !always:
		return Finding{name, false, "the broker runs without `sync_interval: always` in its jetstream block: a power cut loses acknowledged requests"}
	}
	return Finding{name, true, "sync_interval: always"}
}

// brokerNote is what an embedded broker says about itself to those who connect
// from other processes.
type brokerNote struct {
	Server     string `json:"server"`
	SyncAlways bool   `json:"sync_always"`
}

const brokerNoteKey = "broker"

func (b *Bus) writeBrokerNote(ctx context.Context) error {
	if b.server == nil {
		return nil
	}
	return b.set(ctx, wire.BucketSettings, brokerNoteKey, brokerNote{b.server.ID(), b.server.JetStreamConfig().SyncAlways})
}

func (b *Bus) readBrokerNote(ctx context.Context) (brokerNote, error) {
	e, err := get[brokerNote](ctx, b, wire.BucketSettings, brokerNoteKey)
	return e.Value, err
}

func syncAlways(ctx context.Context, monitorURL string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(monitorURL, "/")+"/varz", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var varz struct {
		JetStream struct {
			Config struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"jetstream"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&varz); err != nil {
		return false, fmt.Errorf("decode varz: %w", err)
	}
	return varz.JetStream.Config.SyncAlways, nil
}

// atLeast compares dotted version numbers; a suffix like -beta.1 is ignored.
func atLeast(version, least string) bool {
	have, want := numbers(version), numbers(least)
	for i := range want {
		if have[i] != want[i] {
			return have[i] > want[i]
		}
	}
	return true
}

func numbers(version string) (n [3]int) {
	version, _, _ = strings.Cut(version, "-")
	for i, part := range strings.SplitN(version, ".", 3) {
		n[i], _ = strconv.Atoi(part)
	}
	return n
}
