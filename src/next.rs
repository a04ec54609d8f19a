//! The functions that our exports hide: the next `socket`, `bind`, `connect` and `listen` after ours.
//! They are libc's, or those of another preload, so that preloads stack in either order.
//!
//! This is dlsym(RTLD_NEXT) done by hand, because dlsym itself cannot be had in one binary for all:
//! linked against a current glibc it needs GLIBC_2.34, and before 2.34 it lives in libdl, which need
//! not be loaded. dl_iterate_phdr(3) shows the objects in the order in which ld.so searches them (the
//! program, the preloads, then what they need, breadth first; the same on glibc and musl), so that the
//! first object after ours that defines a name has the next function of that name. Each object is
//! asked by its own hash table, as ld.so would (the GNU one; by name where it has only the old one).
//!
//! [`find`] belongs into the constructor: dl_iterate_phdr takes the loader's lock. After it, a call
//! costs one load and an indirect jump.

use crate::sys;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use libc::{Elf64_Phdr as ProgramHeader, Elf64_Sym as Symbol, dl_phdr_info, sockaddr, socklen_t};
use syscalls::Errno;

static SOCKET: Next = Next::new(c"socket");
static BIND: Next = Next::new(c"bind");
static CONNECT: Next = Next::new(c"connect");
static LISTEN: Next = Next::new(c"listen");

static ONLY_IN_GLIBC: Next = Next::new(c"gnu_get_libc_version");

/// Whether [`find`] has run: what it has not found then, it never will.
static FOUND: AtomicBool = AtomicBool::new(false);

/// The next socket(2).
pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    type Function = unsafe extern "C" fn(c_int, c_int, c_int) -> c_int;
    let Some(function) = SOCKET.function() else {
        return missing();
    };
    // SAFETY: whoever defines `socket` before libc in the search order means this signature.
    let function = unsafe { transmute::<*const c_void, Function>(function) };
    // SAFETY: the arguments are the program's, passed on as they are.
    unsafe { function(domain, kind, protocol) }
}

/// The next bind(2).
pub fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    with_address(&BIND, fd, address, length)
}

/// The next connect(2). libc's is a cancellation point, which a system call of ours would not be.
pub fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    with_address(&CONNECT, fd, address, length)
}

/// The next listen(2).
pub fn listen(fd: c_int, backlog: c_int) -> c_int {
    type Function = unsafe extern "C" fn(c_int, c_int) -> c_int;
    let Some(function) = LISTEN.function() else {
        return missing();
    };
    // SAFETY: as in socket().
    let function = unsafe { transmute::<*const c_void, Function>(function) };
    // SAFETY: as in socket().
    unsafe { function(fd, backlog) }
}

fn with_address(next: &Next, fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    type Function = unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int;
    let Some(function) = next.function() else {
        return missing();
    };
    // SAFETY: as in socket(); bind and connect have the same signature.
    let function = unsafe { transmute::<*const c_void, Function>(function) };
    // SAFETY: as in socket(). `address` is never looked at here.
    unsafe { function(fd, address, length) }
}

/// No object after ours has the function: the library was loaded in some other way than by
/// LD_PRELOAD. The call fails; there is no unbound way round.
#[cold]
fn missing() -> c_int {
    sys::set_errno(Errno::ENOSYS);
    -1
}

/// What there is around us, once the objects have been looked at.
pub struct Surroundings {
    /// Our own segment of data.
    pub writable: Range<usize>,
    /// Whether libc is glibc, and not musl.
    pub is_glibc: bool,
}

/// Finds all four.
pub fn find() -> Surroundings {
    let mut around = Surroundings {
        writable: 0..0,
        is_glibc: false,
    };
    // SAFETY: `each_object` takes what dl_iterate_phdr passes, and `around` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(each_object), (&raw mut around).cast()) };
    FOUND.store(true, Ordering::Relaxed);
    around
}

/// Passes over the objects before ours, notes our data segment, and asks the objects after ours.
unsafe extern "C" fn each_object(info: *mut dl_phdr_info, _: usize, around: *mut c_void) -> c_int {
    // SAFETY: `find` passes it, and nobody else looks at it until that returns.
    let around = unsafe { &mut *around.cast::<Surroundings>() };
    // SAFETY: the loader's own record of a loaded object, valid during the callback.
    let object = unsafe { Object::new(&*info) };
    if Range::is_empty(&around.writable) {
        // Of all segments of all objects, the one that has this static is our writable one.
        if let Some(segment) = object.segment_with((&raw const SOCKET).addr()) {
            around.writable = segment;
        }
        return 0;
    }
    if let Some(symbols) = object.dynamic_symbols() {
        for next in [&SOCKET, &BIND, &CONNECT, &LISTEN] {
            if next.address.load(Ordering::Relaxed).is_null()
                && let Some(address) = symbols.function(next)
            {
                next.address.store(address.cast_mut(), Ordering::Relaxed);
            }
        }
        around.is_glibc |= symbols.function(&ONLY_IN_GLIBC).is_some();
    }
    // Anything but 0 would end the iteration.
    0
}

/// One hidden function. The address is published alone, so no ordering is needed: what it points to
/// was there before the program ran.
struct Next {
    name: &'static CStr,
    hash: u32,
    address: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            hash: gnu_hash(name.to_bytes()),
            address: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn function(&self) -> Option<*const c_void> {
        let mut address = self.address.load(Ordering::Relaxed);
        if address.is_null() && !FOUND.load(Ordering::Relaxed) {
            // Called before our constructor.
            find();
            address = self.address.load(Ordering::Relaxed);
        }
        (!address.is_null()).then_some(address.cast_const())
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

/// A loaded object, by its program headers.
struct Object<'a> {
    base: usize,
    headers: &'a [ProgramHeader],
}

impl<'a> Object<'a> {
    /// # Safety
    /// `info` comes from dl_iterate_phdr.
    unsafe fn new(info: &'a dl_phdr_info) -> Self {
        let (first, count) = (info.dlpi_phdr, usize::from(info.dlpi_phnum));
        let headers = if first.is_null() {
            &[]
        } else {
            // SAFETY: the loader's table of this object, which stays mapped during the callback.
            unsafe { core::slice::from_raw_parts(first, count) }
        };
        Self {
            base: info.dlpi_addr as usize,
            headers,
        }
    }

    fn address(&self, offset: u64) -> usize {
        self.base.wrapping_add(offset as usize)
    }

    fn segment_with(&self, address: usize) -> Option<Range<usize>> {
        self.headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .map(|header| {
                let start = self.address(header.p_vaddr);
                start..start.wrapping_add(header.p_memsz as usize)
            })
            .find(|segment| segment.contains(&address))
    }

    fn dynamic_symbols(&self) -> Option<DynamicSymbols> {
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct Dynamic {
            tag: i64,
            value: u64,
        }
        const DT_NULL: i64 = 0;
        const DT_HASH: i64 = 4;
        const DT_STRTAB: i64 = 5;
        const DT_SYMTAB: i64 = 6;
        const DT_GNU_HASH: i64 = 0x6fff_fef5;

        let dynamic = self
            .headers
            .iter()
            .find(|header| header.p_type == libc::PT_DYNAMIC)?;
        let mut entry = ptr::with_exposed_provenance::<Dynamic>(self.address(dynamic.p_vaddr));
        let (mut symbols, mut strings, mut gnu_hash, mut old_hash) = (0, 0, 0, 0);
        loop {
            // SAFETY: `entry` is at or before the DT_NULL that ends the dynamic section.
            let Dynamic { tag, value } = unsafe { entry.read() };
            // glibc has replaced offsets by addresses in most objects, not in the vDSO; musl has not.
            let value = value as usize;
            let address = if value < self.base {
                self.base.wrapping_add(value)
            } else {
                value
            };
            match tag {
                DT_NULL => break,
                DT_HASH => old_hash = address,
                DT_STRTAB => strings = address,
                DT_SYMTAB => symbols = address,
                DT_GNU_HASH => gnu_hash = address,
                _ => {}
            }
            // SAFETY: this entry was not DT_NULL, so there is a next one.
            entry = unsafe { entry.add(1) };
        }
        let hash = match (gnu_hash, old_hash) {
            (0, 0) => return None,
            (0, old) => Hash::Old(ptr::with_exposed_provenance(old)),
            (gnu, _) => Hash::Gnu(ptr::with_exposed_provenance(gnu)),
        };
        (symbols != 0 && strings != 0).then_some(DynamicSymbols {
            base: self.base,
            symbols: ptr::with_exposed_provenance(symbols),
            strings: ptr::with_exposed_provenance(strings),
            hash,
        })
    }
}

/// The dynamic symbol table of an object, and what there is to search it with.
struct DynamicSymbols {
    base: usize,
    symbols: *const Symbol,
    strings: *const c_char,
    hash: Hash,
}

enum Hash {
    /// DT_GNU_HASH: bucket count, index of the first hashed symbol, Bloom filter's size in machine
    /// words, its shift; the filter; the buckets; a chain of hashes whose lowest bit ends a bucket.
    Gnu(*const u32),
    /// DT_HASH: bucket count, symbol count; the rest is not needed, since symbols are compared one by
    /// one here. No libc of today has only this.
    Old(*const u32),
}

impl DynamicSymbols {
    fn function(&self, next: &Next) -> Option<*const c_void> {
        match self.hash {
            Hash::Gnu(table) => self.by_gnu_hash(table, next),
            Hash::Old(table) => {
                let count = word(table, 1);
                (0..count).find_map(|index| self.if_it_is(index, next))
            }
        }
    }

    fn by_gnu_hash(&self, table: *const u32, next: &Next) -> Option<*const c_void> {
        let (count, first, filter) = (word(table, 0), word(table, 1), word(table, 2));
        let words_of_filter = filter as usize * (size_of::<usize>() / size_of::<u32>());
        let buckets = 4 + words_of_filter;
        let bucket = next.hash.checked_rem(count)? as usize;
        let mut index = word(table, buckets + bucket);
        // 0 is an empty bucket; `first` is at least 1.
        while index >= first {
            let chain = buckets + count as usize + (index - first) as usize;
            let hash = word(table, chain);
            if hash | 1 == next.hash | 1
                && let Some(function) = self.if_it_is(index, next)
            {
                return Some(function);
            }
            if hash & 1 == 1 {
                break;
            }
            index += 1;
        }
        None
    }

    /// The address of the symbol, if it is a defined function of that name.
    fn if_it_is(&self, index: u32, next: &Next) -> Option<*const c_void> {
        const STT_FUNC: u8 = 2;
        // SAFETY: `index` comes from the object's hash table, so the symbol table has it.
        let symbol = unsafe { &*self.symbols.add(index as usize) };
        // SAFETY: the symbol's name is in the string table.
        let name = unsafe { CStr::from_ptr(self.strings.add(symbol.st_name as usize)) };
        let is_function = symbol.st_info & 0xf == STT_FUNC && symbol.st_shndx != 0;
        (is_function && name == next.name).then(|| {
            let address = self.base.wrapping_add(symbol.st_value as usize);
            ptr::with_exposed_provenance(address)
        })
    }
}

/// A word of a hash table.
fn word(table: *const u32, index: usize) -> u32 {
    // SAFETY: callers follow the table's own counts; ld.so relies on the same ones.
    unsafe { table.add(index).read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_linker_does() {
        assert_eq!(gnu_hash(b""), 5381);
        assert_eq!(gnu_hash(b"a"), 5381 * 33 + 97);
    }

    /// The test binary comes before libc in the search order, as the library does.
    #[test]
    fn finds_what_libc_defines() {
        for (next, expected) in [
            (&SOCKET, libc::socket as *const c_void),
            (&BIND, libc::bind as *const c_void),
            (&CONNECT, libc::connect as *const c_void),
            (&LISTEN, libc::listen as *const c_void),
        ] {
            assert_eq!(next.function(), Some(expected));
        }
    }

    #[test]
    fn does_not_find_what_is_not_there() {
        static ABSENT: Next = Next::new(c"no_such_function");
        let mut objects = 0_usize;
        extern "C" fn look(info: *mut dl_phdr_info, _: usize, objects: *mut c_void) -> c_int {
            // SAFETY: what dl_iterate_phdr and the test below pass.
            let (info, objects) = unsafe { (&*info, &mut *objects.cast::<usize>()) };
            // SAFETY: comes from dl_iterate_phdr.
            let object = unsafe { Object::new(info) };
            if let Some(table) = object.dynamic_symbols() {
                *objects += 1;
                assert_eq!(table.function(&ABSENT), None);
            }
            0
        }
        // SAFETY: `look` takes what is passed.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut objects).cast()) };
        assert!(objects > 1, "only {objects} objects with symbols");
    }
}
