//! The objects that ld.so has loaded, and the functions in their dynamic symbol tables.
//!
//! dlsym(3) would do this, but one binary for all glibcs cannot use dlsym: linked against a current glibc it needs
//! GLIBC_2.34, and before 2.34 it is in libdl, which need not be loaded. It would also return another preload's function
//! where libc's own is wanted.
//!
//! Each object is searched by its own hash table, as ld.so would do it (the GNU one; if it has only the old one, symbols
//! are compared one by one).
//!
//! The list of objects is the one that ld.so keeps for debuggers (`struct r_debug`, link.h). It is found by DT_DEBUG in the
//! program's dynamic section, which is found by AT_PHDR; otherwise by a symbol that ld.so exports. No function is called
//! for it: a program may export a dl_iterate_phdr of its own (ThreadSanitizer does), which need not work before the
//! program's constructors have run. If we are not in the list (dlmopen(3) makes others), or it is not found (a program may
//! export ld.so's symbol too), libc's own dl_iterate_phdr describes the objects; another function of this name is not used.
//!
//! For the constructor, and for a hook that is called before it: nobody may load or unload an object meanwhile.
//!
//! The addresses in an [`Object`] and its [`Symbols`] come from the loader, and are valid as long as the object is loaded.
//! So only [`each_object`] makes these values, they live no longer than its callback, and their members are private.

use crate::sys;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::marker::PhantomData;
use core::ops::{ControlFlow, Range};
use core::ptr;
#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Ehdr as Header, Elf32_Phdr as ProgramHeader, Elf32_Sym as Symbol};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Ehdr as Header, Elf64_Phdr as ProgramHeader, Elf64_Sym as Symbol};

/// Passes all objects to `look`, in the order in which ld.so searches them for a symbol: the program, the
/// preloads, then what they need, breadth first (glibc and musl).
pub fn each_object<F: FnMut(&Object<'_>) -> ControlFlow<()>>(mut look: F) {
    let mut next = first_of_ours(by_program().unwrap_or_else(by_loader));
    let is_listed = !next.is_null();
    let mut described = Described::new();
    loop {
        if !is_listed {
            next = described.next();
        }
        // SAFETY: ld.so's list, which ends with a null pointer; or a description, which stays until the next one.
        let Some(it) = (unsafe { next.as_ref() }) else {
            return;
        };
        let object = Object {
            base: it.base,
            path: it.path,
            dynamic: it.dynamic,
            loaded: PhantomData,
        };
        if look(&object).is_break() {
            return;
        }
        next = it.next;
    }
}

/// The beginning of `struct link_map` (link.h), and of musl's `struct dso`.
#[repr(C)]
struct LinkMap {
    base: usize,
    path: *const c_char,
    dynamic: *const Dynamic,
    next: *const LinkMap,
}

/// The beginning of `struct r_debug` (link.h).
#[repr(C)]
struct Debug {
    _version: c_int,
    first: *const LinkMap,
}

/// An entry of a dynamic section.
#[repr(C)]
#[derive(Clone, Copy)]
struct Dynamic {
    tag: isize,
    value: usize,
}

const DT_NULL: isize = 0;
const DT_HASH: isize = 4;
const DT_STRTAB: isize = 5;
const DT_SYMTAB: isize = 6;
const DT_DEBUG: isize = 21;
const DT_GNU_HASH: isize = 0x6fff_fef5;

/// The list by the program's own headers. Under `ld.so PROGRAM`, these are the program's with glibc, and ld.so's own with
/// musl, which have no PT_PHDR.
fn by_program() -> Option<*const Debug> {
    let address = sys::auxiliary(libc::AT_PHDR);
    let count = sys::auxiliary(libc::AT_PHNUM);
    // SAFETY: by the kernel's word the headers are there, and they stay.
    let headers = unsafe { program_headers(address, count) };
    let base = address.wrapping_sub(first_of(headers, libc::PT_PHDR)?.p_vaddr as usize);
    let dynamic = base.wrapping_add(first_of(headers, libc::PT_DYNAMIC)?.p_vaddr as usize);
    // SAFETY: the program is loaded there, and by its header this is its dynamic section.
    let mut entries = unsafe { entries(ptr::with_exposed_provenance(dynamic)) };
    // If there is such an entry, ld.so has stored the address in it before any code of an object ran.
    let debug = entries.find(|entry| entry.tag == DT_DEBUG)?.value;
    (debug != 0).then_some(ptr::with_exposed_provenance(debug))
}

/// The first header of this type.
fn first_of(headers: &[ProgramHeader], kind: u32) -> Option<&ProgramHeader> {
    headers.iter().find(|header| header.p_type == kind)
}

/// The list by the name that ld.so exports it by: `_r_debug`, or `_dl_debug_addr`, a pointer to it, in musl.
fn by_loader() -> *const Debug {
    unsafe extern "C" {
        /// The addresses of both symbols; one is null.
        static vrfbind_debug: [*const Debug; 2];
    }
    // SAFETY: ld.so has written them when it relocated us; nobody else writes them.
    let [of_glibc, of_musl] = unsafe { vrfbind_debug };
    // SAFETY: null, or musl's symbol, which is a pointer.
    let of_musl = unsafe { of_musl.cast::<*const Debug>().as_ref() };
    of_musl.map_or(of_glibc, |debug| *debug)
}

/// The objects as libc's dl_iterate_phdr(3) describes them, one after the other.
struct Described {
    /// How many have been shown.
    shown: usize,
    /// How many of these are still to be skipped.
    left: usize,
    object: LinkMap,
}

impl Described {
    const fn new() -> Self {
        Self {
            shown: 0,
            left: 0,
            object: LinkMap {
                base: 0,
                path: ptr::null(),
                dynamic: ptr::null(),
                next: ptr::null(),
            },
        }
    }

    /// The next object. Null at the end, and if the function is not libc's own: libc's is near its getauxval, which nobody
    /// else exports. The code of glibc is 1.4 MB long, of musl 0.5 MB.
    #[cold]
    fn next(&mut self) -> *const LinkMap {
        const LIBC: usize = 2 << 20;
        let function = libc::dl_iterate_phdr as *const ();
        let of_libc = libc::getauxval as *const ();
        if function.addr().abs_diff(of_libc.addr()) > LIBC {
            return ptr::null();
        }
        self.left = self.shown;
        self.shown += 1;
        // SAFETY: libc's function; the callback gets what it expects, which nobody else uses meanwhile.
        match unsafe { libc::dl_iterate_phdr(Some(Self::look), ptr::from_mut(self).cast()) } {
            0 => ptr::null(),
            _ => &raw const self.object,
        }
    }

    /// Keeps the first object that was not shown yet, and returns 1. Otherwise 0.
    ///
    /// # Safety
    /// As [`Described::next`] passes it.
    unsafe extern "C" fn look(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        described: *mut c_void,
    ) -> c_int {
        // SAFETY: as callers promise.
        let described = unsafe { &mut *described.cast::<Self>() };
        // SAFETY: libc passes a description.
        let info = unsafe { &*info };
        let (first, count) = (info.dlpi_phdr, info.dlpi_phnum);
        // SAFETY: the headers of an object that is loaded.
        let headers = unsafe { core::slice::from_raw_parts(first, count.into()) };
        let Some(dynamic) = first_of(headers, libc::PT_DYNAMIC) else {
            return 0;
        };
        if described.left > 0 {
            described.left -= 1;
            return 0;
        }
        let base = info.dlpi_addr as usize;
        let dynamic = base.wrapping_add(dynamic.p_vaddr as usize);
        described.object = LinkMap {
            base,
            path: info.dlpi_name,
            dynamic: ptr::with_exposed_provenance(dynamic),
            next: ptr::null(),
        };
        1
    }
}

// Weak, so that ld.so loads us although one is missing. Rust has no stable syntax for it.
core::arch::global_asm!(
    ".weak _r_debug",
    ".weak _dl_debug_addr",
    ".pushsection .data.vrfbind_debug, \"aw\"",
    ".balign {size}",
    ".globl vrfbind_debug",
    ".hidden vrfbind_debug",
    "vrfbind_debug: .dc.a _r_debug, _dl_debug_addr",
    ".popsection",
    size = const size_of::<usize>(),
);

/// The first object of the list, if we are in it. Null: we are in another namespace (dlmopen(3)).
fn first_of_ours(debug: *const Debug) -> *const LinkMap {
    // SAFETY: null, or ld.so's.
    let first = unsafe { debug.as_ref() }.map_or(ptr::null(), |list| list.first);
    let mut object = first;
    // SAFETY: ld.so's list, which ends with a null pointer.
    while let Some(it) = unsafe { object.as_ref() } {
        if is_ours(it.dynamic) {
            return first;
        }
        object = it.next;
    }
    ptr::null()
}

/// Whether the dynamic section is that of the object which this code is in.
fn is_ours(dynamic: *const Dynamic) -> bool {
    unsafe extern "C" {
        // Defined by the linker, in each object for its own.
        #[link_name = "_DYNAMIC"]
        static OURS: Dynamic;
    }
    dynamic == &raw const OURS
}

/// # Safety
/// There are `count` of them at this address, or none, and they stay.
unsafe fn program_headers(address: usize, count: usize) -> &'static [ProgramHeader] {
    if address == 0 {
        return &[];
    }
    // SAFETY: as callers promise.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(address), count) }
}

/// The program headers of an object that has its ELF header at its base.
///
/// # Safety
/// It has, and stays loaded.
unsafe fn own_headers(base: usize) -> &'static [ProgramHeader] {
    // SAFETY: as callers promise.
    let Some(header) = (unsafe { ptr::with_exposed_provenance::<Header>(base).as_ref() }) else {
        return &[];
    };
    let first = base.wrapping_add(header.e_phoff as usize);
    // SAFETY: they lie in the first page of the file, in all objects seen.
    unsafe { program_headers(first, header.e_phnum.into()) }
}

/// The entries of a dynamic section, up to its end.
///
/// # Safety
/// It is one, and stays.
unsafe fn entries(mut next: *const Dynamic) -> impl Iterator<Item = Dynamic> {
    core::iter::from_fn(move || {
        // SAFETY: as callers promise; `next` is at or before the DT_NULL at its end.
        let entry = unsafe { next.read() };
        next = next.wrapping_add(1);
        (entry.tag != DT_NULL).then_some(entry)
    })
}

/// The name of a function, with its hash. Stored inline: a pointer would have to be relocated by ld.so.
pub struct Name {
    /// Padded with NULs.
    bytes: [u8; 12],
    hash: u32,
}

impl Name {
    /// At compile time, in a static.
    pub const fn new(name: &CStr) -> Self {
        let mut bytes = [0; 12];
        let (to, _) = bytes.split_at_mut(name.count_bytes());
        to.copy_from_slice(name.to_bytes());
        Self {
            bytes,
            hash: gnu_hash(name.to_bytes()),
        }
    }

    /// Not by strlen(3) and a comparison, which would be more code.
    ///
    /// # Safety
    /// `name` is a string.
    unsafe fn is(&self, mut name: *const c_char) -> bool {
        for wanted in self.bytes {
            // SAFETY: no byte before this one was the NUL at the end.
            if unsafe { *name } as u8 != wanted {
                return false;
            }
            if wanted == 0 {
                return true;
            }
            name = name.wrapping_add(1);
        }
        false
    }
}

/// The hash of DT_GNU_HASH: h = 33 h + byte, from 5381.
const fn gnu_hash(mut name: &[u8]) -> u32 {
    let mut hash: u32 = 5381;
    while let [byte, rest @ ..] = name {
        hash = hash.wrapping_mul(33).wrapping_add(*byte as u32);
        name = rest;
    }
    hash
}

/// A function of a loaded object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its address.
    pub address: usize,
    /// Its offset from the beginning of the object, which for code is its offset in the file too.
    pub offset: usize,
    /// Its length in bytes.
    pub size: usize,
}

/// A loaded object.
pub struct Object<'a> {
    base: usize,
    path: *const c_char,
    dynamic: *const Dynamic,
    loaded: PhantomData<&'a ()>,
}

impl<'a> Object<'a> {
    /// The path by which ld.so has found the object; it stays in memory as long as the object is loaded.
    pub fn path(&self) -> *const c_char {
        self.path
    }

    /// Whether it is the one that this code is in.
    pub fn is_ours(&self) -> bool {
        is_ours(self.dynamic)
    }

    /// The segment of the object that has this address.
    ///
    /// # Safety
    /// The object stays loaded and begins with its ELF header, as ours does.
    pub unsafe fn segment_with(&self, address: usize) -> Option<Range<usize>> {
        // SAFETY: as callers promise.
        unsafe { own_headers(self.base) }
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .map(|header| {
                let start = self.base.wrapping_add(header.p_vaddr as usize);
                start..start.wrapping_add(header.p_memsz as usize)
            })
            .find(|segment| segment.contains(&address))
    }

    /// The dynamic symbols of the object, if it has any.
    pub fn symbols(&self) -> Option<Symbols<'a>> {
        let (mut symbols, mut strings, mut gnu_hash, mut old_hash) = (0, 0, 0, 0);
        // SAFETY: the object is loaded, and by ld.so's word this is its dynamic section.
        for Dynamic { tag, value } in unsafe { entries(self.dynamic) } {
            // glibc has replaced offsets by addresses in most objects, not in the vDSO; musl has not.
            let address = if value < self.base {
                self.base.wrapping_add(value)
            } else {
                value
            };
            match tag {
                DT_HASH => old_hash = address,
                DT_STRTAB => strings = address,
                DT_SYMTAB => symbols = address,
                DT_GNU_HASH => gnu_hash = address,
                _ => {}
            }
        }
        let hash = match (gnu_hash, old_hash) {
            (0, 0) => return None,
            (0, old) => Hash::Old(ptr::with_exposed_provenance(old)),
            (gnu, _) => Hash::Gnu(ptr::with_exposed_provenance(gnu)),
        };
        (symbols != 0 && strings != 0).then_some(Symbols {
            base: self.base,
            symbols: ptr::with_exposed_provenance(symbols),
            strings: ptr::with_exposed_provenance(strings),
            hash,
            object: PhantomData,
        })
    }
}

/// The dynamic symbol table of an object, and its hash table.
pub struct Symbols<'a> {
    base: usize,
    symbols: *const Symbol,
    strings: *const c_char,
    hash: Hash,
    object: PhantomData<&'a ()>,
}

enum Hash {
    /// DT_GNU_HASH: bucket count, index of the first hashed symbol, Bloom filter's size in machine
    /// words, its shift; the filter; the buckets; a chain of hashes whose lowest bit ends a bucket.
    Gnu(*const u32),
    /// DT_HASH: bucket count, symbol count; the rest is not needed, since symbols are compared one by
    /// one here. No libc of today has only this.
    Old(*const u32),
}

impl Symbols<'_> {
    /// The function of this name that the object defines.
    pub fn function(&self, name: &Name) -> Option<Function> {
        match self.hash {
            // SAFETY: it is the object's table of this kind.
            Hash::Gnu(table) => unsafe { self.by_gnu_hash(table, name) },
            Hash::Old(table) => {
                // SAFETY: the table begins with two words.
                let count = unsafe { word(table, 1) };
                // SAFETY: the second of them counts the symbols.
                (0..count).find_map(|index| unsafe { self.if_it_is(index, name) })
            }
        }
    }

    /// # Safety
    /// `table` is the object's DT_GNU_HASH.
    unsafe fn by_gnu_hash(&self, table: *const u32, name: &Name) -> Option<Function> {
        // SAFETY: only words are read that exist by the table's own counts; ld.so relies on the same counts.
        let word = |index| unsafe { word(table, index) };
        let (count, first, filter) = (word(0), word(1), word(2));
        let words_of_filter = filter as usize * (size_of::<usize>() / size_of::<u32>());
        let buckets = 4 + words_of_filter;
        let bucket = name.hash.checked_rem(count)? as usize;
        let mut index = word(buckets + bucket);
        // 0 is an empty bucket; `first` is at least 1.
        while index >= first {
            let chain = buckets + count as usize + (index - first) as usize;
            let hash = word(chain);
            if hash | 1 == name.hash | 1 {
                // SAFETY: the table has a hash of this symbol.
                let function = unsafe { self.if_it_is(index, name) };
                if function.is_some() {
                    return function;
                }
            }
            if hash & 1 == 1 {
                break;
            }
            index += 1;
        }
        None
    }

    /// # Safety
    /// By the object's hash table there is a symbol of this index.
    unsafe fn if_it_is(&self, index: u32, wanted: &Name) -> Option<Function> {
        const STT_FUNC: u8 = 2;
        // SAFETY: so the symbol table has it, and does not change while `self` lives.
        let symbol = unsafe { &*self.symbols.wrapping_add(index as usize) };
        let name = self.strings.wrapping_add(symbol.st_name as usize);
        let is_function = symbol.st_info & 0xf == STT_FUNC && symbol.st_shndx != 0;
        // SAFETY: there the string table has the symbol's name, with a NUL at its end.
        (is_function && unsafe { wanted.is(name) }).then(|| Function {
            address: self.base.wrapping_add(symbol.st_value as usize),
            offset: symbol.st_value as usize,
            size: symbol.st_size as usize,
        })
    }
}

/// A word of a hash table.
///
/// # Safety
/// The table has so many words.
unsafe fn word(table: *const u32, index: usize) -> u32 {
    // SAFETY: as callers promise.
    unsafe { table.wrapping_add(index).read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_linker_does() {
        assert_eq!(gnu_hash(b""), 5381);
        assert_eq!(gnu_hash(b"a"), 5381 * 33 + 97);
    }

    #[test]
    fn a_name_is_the_whole_of_it() {
        let name = Name::new(c"socket");
        for other in [c"socket", c"", c"sock", c"socketpair", c"Socket"] {
            // SAFETY: it is a string.
            let is = unsafe { name.is(other.as_ptr()) };
            assert_eq!(is, other == c"socket", "{other:?}");
        }
    }

    #[test]
    fn the_list_begins_with_the_program() {
        assert!(by_program().is_some());
        let mut count = 0;
        each_object(|object| {
            assert_eq!(object.is_ours(), count == 0);
            count += 1;
            ControlFlow::Continue(())
        });
    }

    #[test]
    fn libc_describes_what_is_in_the_list() {
        let mut described = Described::new();
        each_object(|object| {
            // SAFETY: null, or a description, which stays until the next one.
            let it = unsafe { described.next().as_ref() }.unwrap();
            assert_eq!((it.base, it.dynamic), (object.base, object.dynamic));
            ControlFlow::Continue(())
        });
        assert!(described.next().is_null());
    }

    #[test]
    fn finds_what_libc_defines_and_nothing_else() {
        static PRESENT: Name = Name::new(c"socket");
        static ABSENT: Name = Name::new(c"no_such_fn");
        let (mut found, mut objects) = (None, 0);
        each_object(|object| {
            if let Some(symbols) = object.symbols() {
                objects += 1;
                assert_eq!(symbols.function(&ABSENT), None);
                found = found.or(symbols.function(&PRESENT));
            }
            ControlFlow::Continue(())
        });
        assert!(objects > 1, "only {objects} objects with symbols");
        assert_eq!(
            found.map(|function| function.address),
            Some(libc::socket as *const c_void as usize)
        );
    }
}
