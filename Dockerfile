# `make image` builds it. One static program, its configuration, and nothing else: CA roots are built into the program.
FROM rust:1 AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock Makefile ./
COPY src src
RUN make static

FROM scratch
COPY --from=build /src/target/static/model-filter /model-filter
# The sample upstream, offline. Mount your own over it.
COPY config.yaml /etc/model-filter/config.yaml
# A container's loopback is its own: on 127.0.0.1 nobody outside would reach it. So publish the port with care.
ENV LLM_MF_CONFIG=/etc/model-filter/config.yaml LLM_MF_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/model-filter", "health"]
ENTRYPOINT ["/model-filter"]
