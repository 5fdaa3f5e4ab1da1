# `make run` builds and runs the proxy, `make test` runs the tests. Nothing but cargo is needed.

CARGO   ?= cargo
PREFIX  ?= /usr/local
ARGS    ?=
MINUTES ?= 10

.PHONY: run build test soak check install clean

run: ## Builds and runs: make run ARGS="--port 9000"
	$(CARGO) run --release --locked -- $(ARGS)

build: ## Builds target/release/model-filter
	$(CARGO) build --release --locked

test: ## Runs all tests
	$(CARGO) test --locked

soak: ## Mixed traffic for MINUTES, and what it leaves behind; not part of `test`
	$(CARGO) test --release --locked --test soak -- $(MINUTES)

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
