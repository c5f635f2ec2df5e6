# syntax=docker/dockerfile:1

# Base images and mirrors, for hosts that reach others: --build-arg BUILD_IMAGE=registry.example/rust:1-bookworm. What builds needs
# cargo and gcc of Debian 12 (or older); what runs needs its C library and its root certificates.
ARG BUILD_IMAGE=docker.io/library/rust:1-bookworm
ARG RUN_IMAGE=docker.io/library/debian:bookworm-slim

# Page and server, built by the same command as on a developer's machine.
FROM ${BUILD_IMAGE} AS build
# Cargo features besides `embed`, separated by commas.
ARG FEATURES=
# Sparse index of a crates.io mirror, e.g. https://crates.example/index/.
ARG CRATES_MIRROR=
WORKDIR /src
COPY . .
# The caches stay out of the image; what is needed is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    export CARGO_HOME=/usr/local/cargo \
    && if [ -n "${CRATES_MIRROR}" ]; then \
        printf '[source.crates-io]\nreplace-with = "mirror"\n[source.mirror]\nregistry = "sparse+%s"\n' "${CRATES_MIRROR}" \
            >"${CARGO_HOME}/config.toml"; \
    fi \
    && cargo xtask build ${FEATURES:+--features "${FEATURES}"} \
    && install -D --strip target/release/adire /out/adire

FROM ${RUN_IMAGE}
ARG DEBIAN_MIRROR=
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Adire" \
      org.opencontainers.image.description="A self-hosted studio for Stable Diffusion 1.5 and LoRA adapters" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Certificates: for the Hub, for databases and for object stores over https.
RUN if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then \
        if [ -n "${DEBIAN_MIRROR}" ]; then \
            sed -i "s|http://deb.debian.org/debian|${DEBIAN_MIRROR}|" /etc/apt/sources.list.d/debian.sources; \
        fi \
        && apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates \
        && rm -rf /var/lib/apt/lists/*; \
    fi \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin adire \
    && install --directory --owner=adire --group=adire /data
COPY --from=build /out/adire /usr/local/bin/adire
# Mount another Stable Diffusion 1.x folder over /model to use that instead.
COPY models/starter /model
ENV ADIRE_ADDR=0.0.0.0:3000 \
    ADIRE_DATA=/data \
    ADIRE_MODEL=/model \
    HF_HOME=/data/huggingface
USER adire
VOLUME /data
EXPOSE 3000
# SIGTERM ends the running step and puts the rest back into the queue; the next start goes on there.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["adire", "health"]
ENTRYPOINT ["adire"]
CMD ["serve"]
