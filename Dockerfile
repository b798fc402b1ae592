# Image of zkevm-executor: built with Rust alone (the version is rust-version in Cargo.toml), run without root; the binary itself
# asks for its health.
FROM rust:1.91-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY proto proto
COPY config config
COPY crates crates
COPY src src
# Named by the manifests, hence needed to read them.
COPY benches benches
COPY fuzz fuzz
RUN cargo build --release --locked --package zkevm-executor --bin zkevm-executor

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /usr/src/app executor \
    && mkdir -p /usr/src/app/data /usr/src/app/output \
    && chown -R executor /usr/src/app
COPY --from=build /src/target/release/zkevm-executor /usr/local/bin/zkevm-executor
USER executor
# Where zkevm-prover's image has its configuration.
WORKDIR /usr/src/app
VOLUME ["/usr/src/app/data"]
EXPOSE 50071 50061 9091
# A published port reaches no loopback address of a container. Who may reach the pages is decided by what is published.
ENV ZKEVM_HTTP_HOST=0.0.0.0
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["zkevm-executor", "health", "127.0.0.1:50071"]
ENTRYPOINT ["zkevm-executor"]
CMD ["serve"]
