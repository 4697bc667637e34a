# The one command surface, for people and for CI. It only calls what can be called by hand; `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Cargo uses all cores itself, and two parts of the tests would share one machine's network.
.NOTPARALLEL:

CARGO   ?= cargo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
# Cargo profile of the image: `release` is what ships, `lab` links in a quarter of the time.
PROFILE ?= release
IMAGE   ?= ghcr.io/herald-lb/herald:$(VERSION)
# Static glibc for this machine's processor; no musl toolchain is needed.
TRIPLE  := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Packed relocations: a position-independent static binary reads a megabyte of them at start otherwise (glibc 2.36 or later applies them).
# getrandom: a static glibc binary cannot look the wrapper up, and reading /dev/urandom instead needs a /dev.
STATIC  := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs \
           --cfg getrandom_backend="linux_getrandom"
BINARY  := $(TARGET_DIR)/$(TRIPLE)/$(PROFILE)/herald
XTASK   := $(CARGO) run --quiet --locked --package herald-xtask --
LAB     := $(CARGO) run --quiet --locked --package herald-lab --
# Seconds for each target of `make fuzz`.
FUZZ_SECONDS ?= 60

say = @printf '\n== %s\n' "$(1)"

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

# ---- building

.PHONY: build
build: ## The static release binary (PROFILE=lab: faster to build)
	$(call say,static binary: $(BINARY))
	RUSTFLAGS='$(STATIC)' $(CARGO) build --locked --package herald --profile $(PROFILE) --target $(TRIPLE)

.PHONY: image
image: build ## OCI image of it without Docker: dist/herald.tar
	$(call say,image $(IMAGE): dist/herald.tar)
	@mkdir -p dist
	$(XTASK) image --name $(IMAGE) --binary /herald=$(BINARY) --out dist/herald.tar

.PHONY: generate
generate: ## config/herald.yaml from the chart, custom resource definitions from the types
	$(XTASK) generate

# ---- checking and testing

.PHONY: check
check: check-format check-lints check-arch check-generated check-vagrantfile ## Format, lints, architecture rules, generated files

.PHONY: check-format
check-format:
	$(call say,format)
	$(CARGO) fmt --all --check

.PHONY: check-lints
check-lints:
	$(call say,lints with warnings denied)
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: check-arch
check-arch:
	$(call say,architecture rules)
	$(XTASK) arch

.PHONY: check-generated
check-generated:
	$(call say,chart and generated files (builds helm once when there is none))
	$(XTASK) generate --check

.PHONY: check-vagrantfile
check-vagrantfile:
	$(call say,syntax of the Vagrantfile)
	@command -v ruby >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q >/dev/null \
	    && apt-get install -y -q --no-install-recommends ruby >/dev/null; } \
	  || { echo "ruby is missing: install it (Debian and Ubuntu: apt-get install ruby)" >&2; exit 1; }
	ruby -c config/samples/vagrant/Vagrantfile

# The lab installs the packages that the network namespace tests use as well, so it comes first.
.PHONY: test
test: test-unit test-e2e test-netns ## All tests (root; Go for the first run)
	$(call say,all tests passed)

.PHONY: test-unit
test-unit: ## Unit and property tests, simulated LAN, fake API server: no root
	$(call say,unit and property tests; simulated LAN; fake API server)
	$(CARGO) test --locked --workspace --exclude herald-netns --exclude herald-e2e

.PHONY: test-netns
test-netns: ## Real ARP and NDP in network namespaces (root)
	$(call say,network namespaces (root))
	$(CARGO) test --locked --package herald-netns

.PHONY: test-e2e
test-e2e: image ## End to end on real Kubernetes in the lab (root; builds Kubernetes once)
	$(call say,end to end on real Kubernetes (root; the first run builds Kubernetes))
	$(CARGO) test --locked --package herald-e2e -- --test-threads=1 --nocapture

.PHONY: bench
bench: image ## All figures: table, JSON, docs/benchmarks (40 minutes; BENCH=--quick: 15)
	$(call say,benchmarks in the lab)
	$(CARGO) run --locked --package herald-bench -- --publish docs/benchmarks $(BENCH)

.PHONY: soak
soak: image ## An hour with all processors busy, one with starved speakers, 5,000 and 10,000 Services
	$(call say,two hours under load)
	$(CARGO) run --locked --package herald-bench -- --only busy --only limited --only five-thousand --only ten-thousand --soak 60

.PHONY: scale
scale: ## 3 to 1,000 speakers on the simulated LAN: table, plots, docs/scale (three quarters of an hour)
	$(call say,scale: the rules on the simulated LAN)
	$(CARGO) run --locked --package herald-testkit --example scale -- docs/scale

.PHONY: fuzz
fuzz: ## Parsers and codecs (nightly Rust and cargo-fuzz; FUZZ_SECONDS=60 each)
	@$(CARGO) +nightly fuzz --version >/dev/null 2>&1 || { \
	  echo "needs nightly Rust and cargo-fuzz: rustup toolchain install nightly && cargo install cargo-fuzz" >&2; exit 1; }
	@for target in $$($(CARGO) +nightly fuzz list); do \
	  printf '\n== fuzz %s\n' "$$target"; \
	  mkdir -p "fuzz/corpus/$$target"; \
	  $(CARGO) +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

# ---- a real cluster on this machine

.PHONY: lab
lab: ## Kubernetes with three workers in network namespaces (root)
	$(LAB) up

.PHONY: lab-down
lab-down: ## Remove it
	$(LAB) down

.PHONY: demo
demo: image ## Everything from nothing, with a node powered off at the end (root)
	$(call say,demo)
	$(CARGO) run --locked --package herald-e2e --bin demo

.PHONY: demo-down
demo-down: lab-down ## Remove it

.PHONY: clean
clean: ## Build output
	$(CARGO) clean
	rm -rf dist
