//! How the library is linked. Only the cdylib is: RUSTFLAGS would reach build scripts too.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for argument in [
        // No crtbegin, no crtend: their constructors and __cxa_finalize are not needed.
        "-nostartfiles",
        // Our constructor before everybody else's (glibc).
        "-Wl,-z,initfirst",
        // Never unmapped, not by dlclose(3) either: the libc that we have patched jumps here.
        "-Wl,-z,nodelete",
        // All relocations at load. No relro: it would set the GOT apart on a page of its own, 4 kB
        // and 8 us more per process, while the constructor makes the whole segment read-only anyway.
        "-Wl,-z,now",
        "-Wl,-z,norelro",
        // One file mapping for headers, code and constants.
        "-Wl,-z,noseparate-code",
        // What we use of our own is our own, and not that of a second copy that comes first.
        "-Wl,-Bsymbolic",
        "-Wl,--hash-style=gnu",
        // No entries for others to fill in.
        "-Wl,--spare-dynamic-tags=0",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        // By which an unwinder finds .eh_frame (src/arch.rs).
        "-Wl,--eh-frame-hdr",
        // GNU ld: lld pads segments to pages.
        "-fuse-ld=bfd",
        "-Wl,-soname,libvrfbind.so",
    ] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    // The compilers' names take 117 bytes with their section. A section of one's own takes 64 and more; what is read only,
    // and the two parts of the GOT, can do with one.
    let script = std::path::Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets it"))
        .join("discard.ld");
    std::fs::write(
        &script,
        "SECTIONS {
            /DISCARD/ : { *(.comment) }
            .text : { *(.text .text.*) *(.rodata .rodata.*) }
        } INSERT BEFORE .fini;
        SECTIONS { .data : { *(.got) *(.got.plt) *(.data .data.*) } } INSERT AFTER .dynamic;\n",
    )
    .expect("cargo has made it");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-T,{}", script.display());
}
