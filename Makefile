.DEFAULT_GOAL := help
.SHELLFLAGS := -euo pipefail -c
SHELL := bash

# What fuzzing spends on each target.
FUZZTIME ?= 10s

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## compile everything
	go build ./...

.PHONY: test
test: ## run the tests: no network, no root, no cluster
	go test ./...

.PHONY: race
race: ## run the tests under the race detector, three times each
	go test -race -count=3 ./...

.PHONY: lint
lint: ## golangci-lint, with the floors of the architecture, and what a user links
	"$$(.ci/tools)" run
	.ci/weight

.PHONY: fmt
fmt: ## format the code and tidy go.mod
	"$$(.ci/tools)" fmt
	go mod tidy

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (10s)
	.ci/fuzz $(FUZZTIME)

.PHONY: sim
sim: ## all policies in virtual time, ours and the peers'
	go run ./internal/sim

.PHONY: quickstart
quickstart: ## see it work, with nothing but Go
	go run ./examples/quickstart

.PHONY: e2e
e2e: ## run the end-to-end tests on the cluster that the environment names
	go test -count=1 -v -timeout 60m ./internal/e2e

.PHONY: ci
ci: ## all of what must hold before a merge
	.ci/run

.PHONY: tools
tools: ## install golangci-lint, at the pinned version, outside the checkout
	@.ci/tools
