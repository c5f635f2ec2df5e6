# syntax=docker/dockerfile:1

# Base images and mirrors, for hosts that reach others: --build-arg BUILD_IMAGE=registry.example/rust:1-bookworm. What builds needs
# cargo, gcc and root certificates. What runs is the program with its C library and nothing else (`scratch`), or another image with a
# C library at least as new: that of CUDA for NVIDIA GPUs.
ARG BUILD_IMAGE=docker.io/library/rust:1-bookworm
ARG RUN_IMAGE=scratch

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
    && install -D --strip target/release/adire /out/program/usr/local/bin/adire
# Where there is nothing else: the libraries that the program names, and the files that its C library looks for. No shell, no packages.
ARG RUN_IMAGE
RUN set -e; root=/out/program; \
    mkdir -p "${root}/etc/ssl/certs" /out/data; \
    if [ "${RUN_IMAGE}" = scratch ]; then \
        install -d -m 1777 "${root}/tmp"; \
        for library in $(ldd "${root}/usr/local/bin/adire" | grep -o '/[^ ]*'); do install -D "${library}" "${root}${library}"; done; \
        echo 'hosts: files dns' >"${root}/etc/nsswitch.conf"; \
        printf '%s\n' root:x:0:0::/root:/sbin/nologin adire:x:10001:10001::/data:/sbin/nologin >"${root}/etc/passwd"; \
        printf '%s\n' root:x:0: adire:x:10001: >"${root}/etc/group"; \
    fi; \
    # For the Hub, for databases and for object stores over https.
    cp /etc/ssl/certs/ca-certificates.crt "${root}/etc/ssl/certs/"

FROM ${RUN_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Adire" \
      org.opencontainers.image.description="A self-hosted studio for Stable Diffusion 1.5 and LoRA adapters" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/program /
COPY --from=build --chown=10001:10001 /out/data /data
# Mount another Stable Diffusion 1.x folder over /model to use that instead.
COPY models/starter /model
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    HOME=/data \
    ADIRE_ADDR=0.0.0.0:3000 \
    ADIRE_DATA=/data \
    ADIRE_MODEL=/model \
    HF_HOME=/data/huggingface
# By number: images of others have no such name.
USER 10001:10001
VOLUME /data
EXPOSE 3000
# SIGTERM ends the running step and puts the rest back into the queue; the next start goes on there.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["adire", "health"]
ENTRYPOINT ["adire"]
CMD ["serve"]
