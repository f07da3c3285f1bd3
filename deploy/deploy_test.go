// Package deploy_test holds the files for deployments against the code.
package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/nats-io/nats-server/v2/server"

	"understudy/pkg/app"
	"understudy/pkg/bus"
	"understudy/pkg/config"
	"understudy/pkg/fleet"
	"understudy/pkg/gateway"
	"understudy/pkg/standalone"
)

func TestEnvExampleListsEverySettingWithItsDefault(t *testing.T) {
	want := map[string]string{}
	for _, settings := range []any{&standalone.Config{}, &bus.Config{}, &gateway.Config{}, &fleet.Config{}, &app.LogConfig{}} {
		params, err := env.GetFieldParams(settings)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range params {
			if p.Key != "-" && p.Key != "" {
				want[p.Key] = p.DefaultValue
			}
		}
	}
	data, err := os.ReadFile("env.example")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^([A-Z_]+)=(.*)$`).FindAllStringSubmatch(string(data), -1) {
		name, value := line[1], line[2]
		listed[name] = true
		def, known := want[name]
		if !known {
			t.Errorf("env.example lists %s, which no process reads", name)
		} else if value != def {
			t.Errorf("env.example says %s=%s, the default is %q", name, value, def)
		}
	}
	for name := range want {
		if !listed[name] {
			t.Errorf("env.example lacks %s", name)
		}
	}
}

func TestSampleConfigurationLoads(t *testing.T) {
	cfg, err := config.Load("understudy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(cfg.Routes["chat"].Fallbacks, "rules") {
		t.Errorf("the sample's chat route lost its rules: %+v", cfg.Routes["chat"])
	}
}

func TestBrokerConfigurationSyncsEveryWrite(t *testing.T) {
	opts, err := server.ProcessConfigFile("nats/nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !opts.SyncAlways || !opts.JetStream {
		t.Errorf("sync always %v, jetstream %v", opts.SyncAlways, opts.JetStream)
	}
}
