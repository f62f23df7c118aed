# lvstui: everything a newcomer or developer types. `make help` lists it.
SHELL := /bin/bash
export CGO_ENABLED := 0
# A Go that is older than go.mod asks for fetches that toolchain, as it fetches modules.
export GOTOOLCHAIN := auto
export GOFLAGS := -buildvcs=false -trimpath

BIN      := bin/lvstui
LDFLAGS  := -s -w
TOPOLOGY ?= split
FUZZTIME ?= 30s
# Packages whose tests need root and a kernel of their own: they run in the lab's guest.
KERNEL   := ./capture/live/... ./probes/collect/... ./fixes/apply/... ./fixes/nextboot/parsers ./lab ./cmd/lvstui
# What the guest needs on this machine (xz for the modules of Debian 13). Kernel and tools for the inside are fetched, not installed.
PACKAGES := qemu-system-x86 xz-utils

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: packages build ## lvstui on the article's failing cluster, on a real ip_vs kernel (TOPOLOGY=split|shared|single)
	@$(BIN) lab --topology $(TOPOLOGY)

.PHONY: test
test: packages check build ## every test: pure ones here, the others on the guest's kernel
	@go test -timeout 15m $$(go list ./... | grep -vxF "$$(go list $(KERNEL))")
	@go test -timeout 25m -p 1 -tags guest -exec '$(CURDIR)/$(BIN) lab test-exec' $(KERNEL)

.PHONY: check
check: go ## format, vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then \
	  echo "not gofmt'ed: $$unformatted" >&2; echo "type: gofmt -w $$unformatted" >&2; exit 1; fi
	@go vet ./... && go vet -tags guest ./...
	@go tool staticcheck -tags guest ./...

.PHONY: bench
bench: bench-tools ## the budgets of docs/benchmarks.md, measured on this machine
	@go test -run '^$$' -bench . -benchmem $$(go list ./... | grep -v /lab)

.PHONY: grade
grade: packages build ## how often lvstui is right, on real kernels: docs/grading.md (ONLY=name: some scenarios, to the terminal)
	@go run ./lab/grade/run -program $(BIN) $(ONLY)

.PHONY: bench-tools
bench-tools:
	@missing=""; for t in tcpdump tshark; do command -v $$t >/dev/null || missing="$$missing $$t"; done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing, to measure lvstui beside them (nothing else needs them; take them off with: apt-get remove$$missing)" >&2; \
	  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null || \
	  echo "they could not be installed: the comparison is left out, and says so" >&2; fi

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (30s)
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -oh '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
	    echo "== $$dir $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir; done; done

.PHONY: go
go:
	@case "$$(cd / && go version 2>/dev/null)" in \
	  "") echo "there is no Go here: install version 1.21 or later, from https://go.dev/dl or your distribution" >&2; exit 1;; \
	  *" go1."[0-9]*) minor=$$(cd / && go version | sed 's/.* go1\.\([0-9]*\).*/\1/'); [ "$$minor" -ge 21 ] || { \
	    echo "this Go is too old: go1.$$minor. Install version 1.21 or later, from https://go.dev/dl or your distribution's backports" >&2; exit 1; };; esac

.PHONY: build
build: go ## bin/lvstui, one static binary
	@mkdir -p bin && go build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/lvstui

.PHONY: lab
lab: packages build ## the article's environment in the background: bin/lvstui lab exec director -- ipvsadm -Ln
	@$(BIN) lab up --topology $(TOPOLOGY)

.PHONY: generate
generate: ## regenerate what is generated: docs/findings, docs/keys.md
	@go generate ./...

.PHONY: packages
packages: go
	@missing=""; for p in $(PACKAGES); do dpkg-query -W -f '$${Status}\n' $$p 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ] || [ -z "$$(apt-cache policy linux-image-cloud-amd64 2>/dev/null | grep Candidate)" ]; then \
	  echo "reading the package lists$${missing:+, installing$$missing}" >&2; \
	  $(SUDO) apt-get update -qq && { [ -z "$$missing" ] || \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }; fi
