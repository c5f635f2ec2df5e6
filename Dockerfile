# syntax=docker/dockerfile:1

# Page and server, built by the same command as on a developer's machine.
FROM rust:1-bookworm AS build
RUN rustup target add wasm32-unknown-unknown
WORKDIR /src
COPY . .
# The caches stay out of the image; what is needed is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo xtask build \
    && mkdir /out \
    && cp target/release/adire /out/

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin adire \
    && install --directory --owner=adire --group=adire /data
COPY --from=build /out/adire /usr/local/bin/adire
# Mount another Stable Diffusion 1.x folder over /model to use that instead.
COPY models/starter /model
ENV ADIRE_ADDR=0.0.0.0:3000 \
    ADIRE_DATA=/data \
    ADIRE_MODEL=/model
USER adire
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["adire", "health"]
ENTRYPOINT ["adire"]
CMD ["serve"]
