//! How the library is linked. Only the cdylib is: RUSTFLAGS would reach build scripts too.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for argument in [
        // No crtbegin, no crtend: their constructors and __cxa_finalize are not needed.
        "-nostartfiles",
        // Our constructor before everybody else's (glibc).
        "-Wl,-z,initfirst",
        // All relocations at load. With relro the GOT, which holds libc's addresses, is read-only
        // from then on: one page of private memory for it.
        "-Wl,-z,now",
        "-Wl,-z,relro",
        // One file mapping for headers, code and constants; the file is smaller than two pages.
        "-Wl,-z,noseparate-code",
        "-Wl,--hash-style=gnu",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        "-Wl,--no-eh-frame-hdr",
        // GNU ld: lld pads segments to pages.
        "-fuse-ld=bfd",
        "-Wl,-soname,libvrfbind.so",
    ] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
