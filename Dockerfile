# For those who build with Docker; `make image` makes the same image without it.
FROM rust:1.95-bookworm AS build
WORKDIR /herald
COPY . .
# rust-toolchain.toml names the compiler. Static glibc; see the Makefile for the flags.
RUN RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs --cfg getrandom_backend="linux_getrandom"' \
    cargo build --locked --package herald --release --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && install -D -m 0755 target/*/release/herald /out/herald \
 && install -d /out/etc \
 && printf 'root:x:0:0:root:/:\nnobody:x:65534:65534:nobody:/:\n' > /out/etc/passwd \
 && printf 'root:x:0:\nnobody:x:65534:\n' > /out/etc/group

FROM scratch
COPY --from=build /out/ /
ENTRYPOINT ["/herald"]
