# `make run` builds and runs the proxy, `make test` runs the tests. Nothing but cargo is needed.

CARGO   ?= cargo
PREFIX  ?= /usr/local
ARGS    ?=
MINUTES ?= 10

.PHONY: run build test soak fuzz check install clean

run: ## Builds and runs: make run ARGS="--port 9000"
	$(CARGO) run --release --locked -- $(ARGS)

build: ## Builds target/release/model-filter
	$(CARGO) build --release --locked

test: ## Runs all tests
	$(CARGO) test --locked

soak: ## Mixed traffic for MINUTES, and what it leaves behind; not part of `test`
	$(CARGO) test --release --locked --test soak -- $(MINUTES)

fuzz: MINUTES = 15
fuzz: ## Hostile bodies for MINUTES, shared by the targets; needs nightly Rust, installs cargo-fuzz if it is missing
	@rustup run nightly rustc --version || { echo "make fuzz needs nightly: rustup toolchain install nightly"; exit 1; }
	@$(CARGO) fuzz --version || { echo "cargo-fuzz is missing: installing it"; $(CARGO) install --locked cargo-fuzz; }
	for target in json_splice multipart_splice; do \
	  mkdir -p fuzz/corpus/$$target && \
	  $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -dict=fuzz/dict -max_len=4096 -max_total_time=$$(($(MINUTES) * 30)) -print_final_stats=1 || exit 1; \
	done

check: ## Everything that must hold before a change lands
	.ci/run

target/release/model-filter:
	$(MAKE) build

install: target/release/model-filter ## Installs to $(DESTDIR)$(PREFIX)/bin; never overwrites a configuration
	install -D -m 755 target/release/model-filter $(DESTDIR)$(PREFIX)/bin/model-filter
	test -e $(DESTDIR)$(PREFIX)/etc/model-filter/config.yaml || \
	  install -D -m 644 config.yaml $(DESTDIR)$(PREFIX)/etc/model-filter/config.yaml

clean:
	$(CARGO) clean
