# Everything a person does with this repository. Needs Go and make; test/clients
# also needs Python 3 and Node.js.

BIN        := bin
TOOLS      := $(BIN)/tools
LINT       := v2.15.0
GOFUMPT    := v0.12.0
FUZZTIME   ?= 10s
GO         ?= go

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z\/-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the command line and every service into bin/
	$(GO) build -o $(BIN)/ ./tools/understudy ./tools/fakeprovider
	$(GO) build -o $(BIN)/services/ ./services/...

.PHONY: run
run: ## bring the whole product up on the embedded broker: http://127.0.0.1:8080
	$(GO) build -o $(BIN)/ ./tools/understudy
	$(BIN)/understudy up

.PHONY: demo
demo: ## an outage on one screen: two providers, one goes down and comes back
	$(GO) run ./tools/demo

.PHONY: test
test: ## every test in Go, against the real embedded broker
	$(GO) test ./...

.PHONY: test/race
test/race: ## the same under the race detector, nothing from the cache
	$(GO) test -race -count=1 ./...

.PHONY: test/clients
test/clients: build ## official SDKs and NATS clients in Python and Node.js against the product
	$(GO) run ./tools/clienttest --product "$(CURDIR)/$(BIN)/understudy up"

.PHONY: bench
bench: ## dispatch and gateway as ratios to raw JetStream, from one run
	$(GO) run ./tools/bench

.PHONY: faults
faults: ## what callers get from each fault, an outage and a failover, into docs/faults.md
	$(GO) run ./tools/faults

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' pkg tools schemas | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -rhoE '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | sed 's/func //'); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$pkg || exit 1; \
		done; \
	done

.PHONY: generate
generate: ## write the generated Go types from schemas/
	$(GO) run ./tools/schemagen

.PHONY: fmt
fmt: $(TOOLS)/gofumpt ## format the code
	$(TOOLS)/gofumpt -w $$(git ls-files '*.go')

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/gofumpt ## golangci-lint and gofumpt
	@test -z "$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go'))" || { echo "make fmt would change:"; $(TOOLS)/gofumpt -l $$(git ls-files '*.go'); exit 1; }
	$(TOOLS)/golangci-lint run ./...

.PHONY: verify
verify: ## generated files, go.mod and go.work are current; both build modes work
	$(GO) run ./tools/schemagen -check
	$(GO) mod tidy -diff
	@test "$$(awk '/^go /{print $$2}' go.mod)" = "$$(awk '/^go /{print $$2}' go.work)" || { echo "go.mod and go.work name different Go versions"; exit 1; }
	GOWORK=off $(GO) build ./...
	$(GO) vet ./...

$(TOOLS)/golangci-lint: Makefile
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT)
	@touch $@

$(TOOLS)/gofumpt: Makefile
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install mvdan.cc/gofumpt@$(GOFUMPT)
	@touch $@
