# syntax=docker/dockerfile:1

# Base images and mirrors, for hosts that reach others: --build-arg BUILD_IMAGE=registry.example/rust:1-bookworm. What builds needs
# cargo, gcc and root certificates; for NVIDIA GPUs also g++, and Python with venv, or apt-get to install it. What runs is the program
# with its C library and nothing else (`scratch`), or another image with a C library at least as new: for NVIDIA GPUs, see
# docs/deploy.md.
ARG BUILD_IMAGE=docker.io/library/rust:1-bookworm
ARG RUN_IMAGE=scratch

# Page and server, built by the same command as on a developer's machine.
FROM ${BUILD_IMAGE} AS build
# Cargo features besides `embed`, separated by commas.
ARG FEATURES=
# For `cuda-train`: the compute capability that it is compiled for, 75 for a T4.
ARG CUDA_COMPUTE_CAP=
# Package index in place of pypi.org, which has NVIDIA's compiler.
ARG PYPI_MIRROR=
ARG RUN_IMAGE
# Sparse index of a crates.io mirror, e.g. https://crates.example/index/.
ARG CRATES_MIRROR=
WORKDIR /src
COPY . .
# The driver's libraries, which the host puts into a GPU container, need a C library's usual files around them; CUDA's are in its images.
RUN case ",${FEATURES},:${RUN_IMAGE}" in \
        *,cu*:scratch) echo 'For NVIDIA GPUs set RUN_IMAGE; docs/deploy.md has the line.' >&2; exit 1 ;; \
        *,cu*) python3 -c 'import ensurepip, venv' 2>/dev/null && command -v g++ >/dev/null && command -v ar >/dev/null \
            || { apt-get update && apt-get install --yes --no-install-recommends python3-venv g++ binutils; } ;; \
    esac
# The caches stay out of the image; what is needed is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    --mount=type=cache,target=/root/.cache/adire/cuda \
    export HOME=/root CARGO_HOME=/usr/local/cargo \
    && if [ -n "${PYPI_MIRROR}" ]; then export PIP_INDEX_URL="${PYPI_MIRROR}"; fi \
    && if [ -n "${CRATES_MIRROR}" ]; then \
        printf '[source.crates-io]\nreplace-with = "mirror"\n[source.mirror]\nregistry = "sparse+%s"\n' "${CRATES_MIRROR}" \
            >"${CARGO_HOME}/config.toml"; \
    fi \
    && cargo xtask build ${FEATURES:+--features "${FEATURES}"} \
    && cargo xtask licenses ${FEATURES:+--features "${FEATURES}"} --out /out/program/usr/share/doc/adire \
    && install -D --strip target/release/adire /out/program/usr/local/bin/adire
# Where there is nothing else: the libraries that the program names, and the files that its C library looks for. No shell, no packages.
RUN set -e; root=/out/program; packages=ca-certificates; \
    mkdir -p "${root}/etc/ssl/certs" /out/data; \
    if [ "${RUN_IMAGE}" = scratch ]; then \
        install -d -m 1777 "${root}/tmp"; \
        for library in $(ldd "${root}/usr/local/bin/adire" | grep -o '/[^ ]*'); do \
            install -D "${library}" "${root}${library}"; \
            packages="${packages} $(dpkg -S "*${library#/usr}" | cut -d: -f1)"; \
        done; \
        echo 'hosts: files dns' >"${root}/etc/nsswitch.conf"; \
        printf '%s\n' root:x:0:0::/root:/sbin/nologin adire:x:10001:10001::/data:/sbin/nologin >"${root}/etc/passwd"; \
        printf '%s\n' root:x:0: adire:x:10001: >"${root}/etc/group"; \
    fi; \
    # For the Hub, for databases and for object stores over https. Debian's files name the licences of what is copied.
    cp /etc/ssl/certs/ca-certificates.crt "${root}/etc/ssl/certs/"; \
    for package in ${packages}; do \
        install -D -m 644 "/usr/share/doc/${package}/copyright" "${root}/usr/share/doc/${package}/copyright"; \
    done

FROM ${RUN_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG FEATURES=
LABEL org.opencontainers.image.title="Adire" \
      org.opencontainers.image.description="A self-hosted studio for Stable Diffusion 1.5 and LoRA adapters" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/program /
COPY --from=build --chown=10001:10001 /out/data /data
# Mount another Stable Diffusion 1.x folder over /model to use that instead.
COPY models/starter /model
# The last two let the container see the host's GPUs, where the program has a use for them.
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    HOME=/data \
    ADIRE_ADDR=0.0.0.0:3000 \
    ADIRE_DATA=/data \
    ADIRE_MODEL=/model \
    HF_HOME=/data/huggingface \
    NVIDIA_VISIBLE_DEVICES=${FEATURES:+all} \
    NVIDIA_DRIVER_CAPABILITIES=${FEATURES:+compute,utility}
# By number: images of others have no such name.
USER 10001:10001
VOLUME /data
EXPOSE 3000
# SIGTERM ends the running step and puts the rest back into the queue; the next start goes on there.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["adire", "health"]
ENTRYPOINT ["adire"]
CMD ["serve"]
