# `make` lists the targets. They need cargo and a C compiler.

CARGO   ?= cargo
PREFIX  ?= /usr/local
# The program looks for its configuration below /etc.
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
ARGS    ?=
MINUTES ?= 10
ROUNDS  ?= 5
BODIES  ?= 30000

# The target of this machine, and the static one that belongs to it: musl if rustup and a compiler have it, else glibc.
HOST    = $(shell rustc -vV | sed -n 's/^host: //p')
MUSL    = $(subst -gnu,-musl,$(HOST))
STATIC  = $(shell command -v musl-gcc >/dev/null && rustup target list --installed | grep -x $(MUSL) || echo $(HOST))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
TARGET ?=
# The folder that cargo writes to.
OUT     = $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run build test test-browser soak bench compare fuzz differential check install static cross deb dist release-check image \
  image-files clean

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r target text; do \
	  printf '%-14s %s\n' "$$target" "$$text"; done

run: ## Builds and runs: make run ARGS="--port 9000"
	$(CARGO) run --release --locked -- $(ARGS)

build: ## Builds target/release/model-filter
	$(CARGO) build --release --locked

test: ## Runs all tests, and prints one line for each test program, or what failed
	@mkdir -p $(OUT); $(CARGO) test --locked --no-fail-fast --color never -- --color never > $(OUT)/test.log 2>&1 || status=$$?; \
	  if [ "$${status:-0}" = 0 ]; then sed -n 's/^     Running \([^(]*\).*/\1/p; s/^   Doc-tests /doc /p; s/^test result: /  /p' $(OUT)/test.log; \
	  else grep -v '^test .* ok$$' $(OUT)/test.log; exit $$status; fi

test-browser: ## Tests the page in headless Chromium; needs Debian's chromium and chromium-driver, or the like
	$(CARGO) test --locked --test browser -- --test-threads 2

soak: ## Runs mixed traffic for MINUTES and checks every byte; not part of `test`
	$(CARGO) test --release --locked --test soak -- $(MINUTES)

# Both ends of 1,000 streams are in one process, which needs more files than a shell's soft limit.
bench: ## Measures the cost beside direct and nginx: make bench ARGS="plain list" ROUNDS=9; about 4 minutes, longer on a busy machine
	@ulimit -n $$(ulimit -H -n) && $(CARGO) bench --locked --bench proxy -- --rounds $(ROUNDS) $(ARGS)

compare: ## Compares with nginx, Caddy and the Python original, if they are here: make compare PYTHON_ORIGINAL=DIR PYTHON=python3
	@ulimit -n $$(ulimit -H -n) && PYTHON_ORIGINAL="$(PYTHON_ORIGINAL)" PYTHON="$(or $(PYTHON),python3)" \
	  $(CARGO) bench --locked --bench proxy -- --rounds $(ROUNDS) --compare $(ARGS)

fuzz: MINUTES = 15
fuzz: ## Fuzzes the parsers of bodies for MINUTES in total; needs nightly Rust, installs cargo-fuzz if it is missing
	@rustup run nightly rustc --version || { echo "make fuzz needs nightly: rustup toolchain install nightly"; exit 1; }
	@$(CARGO) fuzz --version || { echo "cargo-fuzz is missing: installing it"; $(CARGO) install --locked cargo-fuzz; }
	for target in json_splice multipart_splice list; do \
	  mkdir -p fuzz/corpus/$$target && \
	  $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -dict=fuzz/dict -max_len=4096 -max_total_time=$$(($(MINUTES) * 20)) -print_final_stats=1 || exit 1; \
	done

differential: build ## Checks that no parser of Python, Node or Go reads a hidden model in BODIES hostile bodies; needs python3, npm and go
	python3 tests/differential/run.py $(OUT)/release/model-filter $(BODIES)

check: ## Runs what CI runs
	.ci/run

# Without cargo, as for root, the program must be there and newer than its sources.
SOURCES = $(shell find src Cargo.toml Cargo.lock config.yaml -type f)
$(OUT)/release/model-filter: $(SOURCES)
	@command -v $(CARGO) >/dev/null || { echo "$@ is missing or older than its sources, and there is no cargo here: run 'make build' as a user who has it"; exit 1; }
	$(CARGO) build --release --locked
	@touch $@

install: $(OUT)/release/model-filter ## Installs below $(DESTDIR)$(PREFIX); keeps an existing configuration
	install -D -m 755 $(OUT)/release/model-filter $(DESTDIR)$(PREFIX)/bin/model-filter
	install -D -m 644 deploy/model-filter.1 $(DESTDIR)$(PREFIX)/share/man/man1/model-filter.1
	install -D -m 644 deploy/completions/model-filter.bash \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions/model-filter
	install -D -m 644 deploy/completions/_model-filter $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_model-filter
	install -D -m 644 deploy/completions/model-filter.fish \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/model-filter.fish
	install -D -m 644 config.schema.json $(DESTDIR)$(SYSCONFDIR)/model-filter/config.schema.json
	test -e $(DESTDIR)$(SYSCONFDIR)/model-filter/config.yaml || \
	  install -D -m 644 config.yaml $(DESTDIR)$(SYSCONFDIR)/model-filter/config.yaml
	@echo "Installed. Edit $(SYSCONFDIR)/model-filter/config.yaml, then run: model-filter$(if \
	  $(filter /etc,$(SYSCONFDIR)),, --config $(SYSCONFDIR)/model-filter/config.yaml)"

# With an explicit target, even if it is this machine's own, the flags do not apply to build scripts and macros.
static: TRIPLE = $(STATIC)
static: ## Builds target/static/model-filter, which needs no library
	RUSTFLAGS="$$RUSTFLAGS -C target-feature=+crt-static" $(CARGO) build --release --locked --target $(TRIPLE)
	install -D -m 755 $(OUT)/$(TRIPLE)/release/model-filter $(OUT)/static/model-filter
	@! command -v file >/dev/null || file -b $(OUT)/static/model-filter

# The same for another machine, with zig as its linker: cross TARGET=…
cross:
	@test -n "$(TARGET)" || { echo "which machine? TARGET=aarch64-unknown-linux-musl, for example"; exit 1; }
	@rustup target list --installed | grep -qx $(TARGET) || rustup target add $(TARGET)
	@$(CARGO) zigbuild --version || \
	  { echo "cargo-zigbuild is missing: installing it"; $(CARGO) install --locked cargo-zigbuild; }
	@zig version 2>/dev/null || python3 -m ziglang version || { echo "zig is missing: pip install ziglang"; exit 1; }
	$(CARGO) zigbuild --release --locked --target $(TARGET)
	@! command -v file >/dev/null || file -b $(OUT)/$(TARGET)/release/model-filter

deb: TRIPLE = $(or $(TARGET),$(STATIC))
deb: $(if $(TARGET),cross,static) ## Builds dist/model-filter_VERSION_ARCH.deb, for TARGET or this machine
	@$(CARGO) deb --version || { echo "cargo-deb is missing: installing it"; $(CARGO) install --locked cargo-deb; }
	mkdir -p dist
	$(CARGO) deb --locked --no-build --no-strip --target $(TRIPLE) --output dist/

DIST = model-filter-$(VERSION)-$(TARGET)
dist: cross ## Builds dist/model-filter-VERSION-TARGET.tar.gz and its sum: make dist TARGET=aarch64-unknown-linux-musl
	rm -rf $(OUT)/dist/$(DIST)
	mkdir -p $(OUT)/dist/$(DIST)/completions dist
	install -m 755 $(OUT)/$(TARGET)/release/model-filter $(OUT)/dist/$(DIST)
	install -m 644 config.yaml config.schema.json LICENSE README.md CHANGELOG.md deploy/model-filter.1 \
	  deploy/model-filter.service deploy/model-filter.socket deploy/grafana.json $(OUT)/dist/$(DIST)
	install -m 644 deploy/completions/* $(OUT)/dist/$(DIST)/completions
	install -D -m 644 -t $(OUT)/dist/$(DIST)/docs docs/*.md docs/page.png
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$$(git log -1 --format=%ct) \
	  -C $(OUT)/dist -cf - $(DIST) | gzip -9n > dist/$(DIST).tar.gz
	cd dist && sha256sum $(DIST).tar.gz > $(DIST).tar.gz.sha256

release-check: # Checks that a tag is this version: release-check TAG=v…
	@test "$(TAG)" = "v$(VERSION)" || { echo "the tag $(TAG) is not v$(VERSION), which Cargo.toml says"; exit 1; }

# The files of the image for an architecture, as the Dockerfile expects them: image-files PROGRAM=… ARCH=armv7
image-files:
	install -D -m 755 $(PROGRAM) dist/image/$(ARCH)/model-filter

ENGINE ?= docker
ARCH    = $(subst aarch64,arm64,$(subst x86_64,amd64,$(firstword $(subst -, ,$(HOST)))))
image: static ## Builds the container image model-filter:VERSION for this machine, with docker or ENGINE=podman
	$(MAKE) image-files PROGRAM=$(OUT)/static/model-filter ARCH=$(ARCH)
	$(ENGINE) build $(if $(filter podman,$(ENGINE)),--format docker) -t model-filter:$(VERSION) -t model-filter:latest --build-arg TARGETARCH=$(ARCH) .

clean:
	$(CARGO) clean
