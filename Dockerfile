# The static program. `make image` builds it for this machine, the release workflow for three.
# CA roots are built into the program.
FROM scratch
# dist/image/amd64, arm64 and armv7 each have model-filter. Set LLM_MF_BASE_URL and the like, or mount a folder with
# config.yaml as /etc/model-filter.
ARG TARGETARCH TARGETVARIANT
COPY dist/image/${TARGETARCH}${TARGETVARIANT}/ /
# The loopback address of a container cannot be reached from outside, so publish the port with care.
ENV LLM_MF_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/model-filter", "health"]
ENTRYPOINT ["/model-filter"]
