# Needs Go, git, GNU make and bash; a C compiler too for the race detector.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The go command keeps every core busy by itself; two at once only queue for the build cache.
.NOTPARALLEL:

GO ?= go
FUZZTIME ?= 10s
BENCH ?= .
BENCHTIME ?= 1s
COUNT ?= 1
TIMEOUT ?= 8m

# A go.work in a parent directory would hide a requirement missing from a nested go.mod.
export GOWORK := off

# Every module of the tree, "." first; computed once.
MODULES := . $(shell find . -mindepth 2 -name go.mod -not -path '*/testdata/*' -not -path './.*' -printf '%P\n' | sed 's,/go.mod$$,,' | sort)
# tools holds the versions of commands and no code.
TESTED := $(filter-out tools,$(MODULES))

STATICCHECK_PATH = $(GO) tool -modfile="$(CURDIR)/tools/go.mod" -n staticcheck
BENCHSTAT = $(GO) tool -modfile="$(CURDIR)/tools/go.mod" benchstat

# The race detector needs cgo and so a C compiler: without one CI fails, a developer is told and goes on.
HAVE_CC := $(shell command -v "$$($(GO) env CC)" 2>/dev/null)
RACE := $(if $(HAVE_CC)$(CI),-race)

say = printf '\n== %s\n'
# $(call each,modules,command) runs the command in each module and stops at the first failure.
# Modules that link a lot and hold no file of budgets are checked with what their tests are built from, which spares building
# all of that twice. What measures is built as ever.
HEAVY := NONE
vet fix staticcheck race: HEAVY := benchmarks|internal/e2e/*
each = @for m in $(1); do printf '%s: %s\n' "$$m" '$(2)'; (cd "$$m" && case "$$m" in $(HEAVY)) export GOFLAGS="$${GOFLAGS-} $(RACE)";; esac && $(2)); done

## help: list the targets
.PHONY: help
help:
	@sed -n 's/^## //p' Makefile | awk -F': ' '{printf "%-10s %s\n", $$1, $$2}'

## test: everything a change must pass (at most 10 minutes on 2 cores)
.PHONY: test
test: lint race budgets examples
	@$(say) 'make test: passed'

## lint: format, modules, vet, modernizers, staticcheck
.PHONY: lint
lint: format tidy vet fix staticcheck

.PHONY: format tidy vet fix staticcheck
format:
	@$(say) 'gofmt'
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then printf 'not in gofmt form:\n%s\n' "$$out" >&2; exit 1; fi

tidy:
	@$(say) 'go mod tidy -diff'
	$(call each,$(MODULES),$(GO) mod tidy -diff)

# To vet for another system takes all that is imported compiled for it: that is in proof. Here a test of internal/archtest
# checks the types for windows and darwin.
vet:
	@$(say) 'go vet'
	$(call each,$(TESTED),$(GO) vet ./...)

fix:
	@$(say) 'go fix -diff'
	$(call each,$(TESTED),$(GO) fix -diff ./...)

staticcheck:
	@$(say) 'staticcheck'
	$(call each,$(TESTED),$(shell $(STATICCHECK_PATH)) ./...)

# vet=off: the vet step has run, with more checks than go test has.
.PHONY: race budgets examples
race:
	@$(say) 'tests and fuzz seeds in shuffled order $(RACE)'
	@[ -n '$(RACE)' ] || echo 'NOTICE: no C compiler found, so the race detector is OFF'
	$(call each,$(TESTED),$(GO) test $(RACE) -shuffle=on -vet=off -timeout=$(TIMEOUT) ./...)

budgets:
	@$(say) 'allocation budgets, types for windows and darwin, and what else is long under the race detector, without it'
	$(call each,$(TESTED),GO=$(GO) "$(CURDIR)/scripts/budgets.sh")

examples:
	@$(say) 'examples'
	@if [ -d examples ]; then $(GO) build -o /dev/null ./examples/...; fi
	@if [ -d examples/bookinfo ]; then echo 'go run ./examples/bookinfo -check'; $(GO) run ./examples/bookinfo -check; fi

## proof: vet for windows and darwin, the long tables and soaks, then every fuzz target for FUZZTIME
.PHONY: proof
proof:
	@$(say) 'go vet for windows and darwin, for what others import'
	$(call each,.,GOOS=windows $(GO) vet ./...)
	$(call each,.,GOOS=darwin $(GO) vet ./...)
	@$(say) 'long tables and soaks'
	$(call each,$(TESTED),TULLE_PROOF=1 $(GO) test -count=1 -vet=off -timeout=60m -run Proof ./...)
	@$(MAKE) --no-print-directory fuzz

## fuzz: every fuzz target for FUZZTIME (10s)
.PHONY: fuzz
fuzz:
	@$(say) 'fuzzing each target for $(FUZZTIME)'
	$(call each,$(TESTED),GO=$(GO) FUZZTIME=$(FUZZTIME) "$(CURDIR)/scripts/fuzz.sh")

## bench: benchmarks of every module (BENCH, BENCHTIME, COUNT)
.PHONY: bench
bench:
	$(call each,$(TESTED),$(GO) test -run=NONE -bench=$(BENCH) -benchmem -benchtime=$(BENCHTIME) -count=$(COUNT) ./...)

## benchstat: compare two outputs of make bench (OLD, NEW)
.PHONY: benchstat
benchstat:
	@$(BENCHSTAT) $(OLD) $(NEW)

## update: write the golden files anew; read the diff before committing it
.PHONY: update
update:
	$(GO) test ./internal/archtest -update

## cover: statement coverage of the core module, in cover.out
.PHONY: cover
cover:
	$(GO) test -vet=off -timeout=$(TIMEOUT) -coverpkg=./... -coverprofile=cover.out ./...
	@$(GO) tool cover -func=cover.out | tail -n 1

## demo: run Bookinfo
.PHONY: demo
demo:
	$(GO) run ./examples/bookinfo
