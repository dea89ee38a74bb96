# Every target says what it does in the comment after `##`: `make` alone lists them.
# The work is done by cargo and by the scripts in .ci/, which can be run by hand.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo run test crash bench lint clean

# Where cargo builds; set CARGO_TARGET_DIR to share it between clones.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Where `make run` keeps its data and listens. `make demo` uses a fresh folder and a free port
# unless they are set.
DATA ?= data
LISTEN ?= 127.0.0.1:8080
# How often `make crash` kills the server.
ROUNDS ?= 100

help: ## list these targets
	@echo "WOTP: a self-hosted verification platform. Targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## install what is missing, build, then send and check a code before your eyes
	@.ci/prerequisites build
	@echo "building (the first time takes a few minutes)"
	@start=$$(date +%s%3N); cargo build --locked -p wotp-server --no-default-features; \
		exec $(TARGET)/debug/wotp demo --started-at $$start \
		$(if $(filter command line environment,$(origin DATA)),--data "$(DATA)") \
		$(if $(filter command line environment,$(origin LISTEN)),--listen "$(LISTEN)")

run: ## serve on 127.0.0.1:8080 with its data in ./data (DATA=... LISTEN=... to change)
	@.ci/prerequisites build
	@cargo build --locked -p wotp-server
	@mkdir -p "$(DATA)"
	@exec $(TARGET)/debug/wotp serve --data "$(DATA)" --listen "$(LISTEN)"

test: ## install what the tests need and run them all (TEST=name runs only tests of that name)
	@.ci/prerequisites test
	@.ci/test $(TEST)

crash: ## kill -9 a server under load 100 times; nothing may be lost or approved twice (ROUNDS=...)
	@.ci/prerequisites test
	@CRASH_ROUNDS=$(ROUNDS) .ci/test crash::

bench: ## build for release and measure; the table on screen, the figures in target/bench.json
	@.ci/prerequisites bench
	@cargo build --release --locked -p wotp-server --no-default-features
	@cp $(TARGET)/release/wotp $(TARGET)/release/wotp-embedded
	@cargo build --release --locked -p wotp-server
	@cargo build --release --locked --manifest-path channels/whatsapp-double/Cargo.toml --workspace --bins \
		--target-dir $(TARGET)/whatsapp-double
	@components=$$(.ci/guests); cargo run --release --locked -p wotp-bench -- --components "$$components" \
		--whatsapp $(TARGET)/whatsapp-double/release --wotp $(TARGET)/release/wotp \
		--embedded $(TARGET)/release/wotp-embedded \
		--json $(TARGET)/bench.json --scratch $(TARGET)/bench

lint: ## format, clippy, rustdoc, unused dependencies, licences, advisories, shell scripts
	@.ci/prerequisites lint
	@.ci/lint

clean: ## remove what was built (never ./data)
	@cargo clean
