//! The objects that ld.so has loaded, and the functions in their dynamic symbol tables.
//!
//! This is what dlsym(3) would be for, but dlsym cannot be had in one binary for all: linked against a
//! current glibc it needs GLIBC_2.34, and before 2.34 it lives in libdl, which need not be loaded. It
//! would also answer with another preload's function where libc's own is wanted.
//!
//! Each object is searched by its own hash table, as ld.so would (the GNU one; by name where an object
//! has only the old one).
//!
//! For the constructor, and for a hook that is called before it: dl_iterate_phdr takes the loader's lock.
//!
//! What an [`Object`] and its [`Symbols`] say of memory is the loader's word, which holds as long as the object is loaded. So
//! only [`each_object`] makes them, they live no longer than its callback, and nobody else sees what is in them.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::marker::PhantomData;
use core::ops::{ControlFlow, Range};
use core::ptr;
use libc::dl_phdr_info;
#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Phdr as ProgramHeader, Elf32_Sym as Symbol};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Phdr as ProgramHeader, Elf64_Sym as Symbol};

/// Shows all objects, in the order in which ld.so searches them for a symbol: the program, the
/// preloads, then what they need, breadth first (glibc and musl).
pub fn each_object<F: FnMut(&Object<'_>) -> ControlFlow<()>>(mut look: F) {
    /// # Safety
    /// dl_iterate_phdr calls this, for `each_object`.
    unsafe extern "C" fn callback<F: FnMut(&Object<'_>) -> ControlFlow<()>>(
        info: *mut dl_phdr_info,
        _: usize,
        look: *mut c_void,
    ) -> c_int {
        // SAFETY: `each_object` passes its own `look`, which nobody else uses meanwhile.
        let look = unsafe { &mut *look.cast::<F>() };
        // SAFETY: dl_iterate_phdr passes a record that is valid during the callback.
        let info = unsafe { &*info };
        // SAFETY: it is the loader's own, of a loaded object.
        let object = unsafe { Object::new(info) };
        // Anything but 0 ends the iteration.
        c_int::from(look(&object).is_break())
    }
    // SAFETY: `callback` takes what dl_iterate_phdr passes, and `look` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(callback::<F>), (&raw mut look).cast()) };
}

/// The name of a function, with its hash. Here and not by a pointer, which ld.so would have to relocate.
pub struct Name {
    /// With NULs behind it.
    bytes: [u8; 24],
    hash: u32,
}

impl Name {
    /// At compile time, in a static.
    pub const fn new(name: &CStr) -> Self {
        let mut bytes = [0; 24];
        let (to, _) = bytes.split_at_mut(name.count_bytes());
        to.copy_from_slice(name.to_bytes());
        Self {
            bytes,
            hash: gnu_hash(name.to_bytes()),
        }
    }

    fn is(&self, name: &CStr) -> bool {
        self.bytes.starts_with(name.to_bytes_with_nul())
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
    /// Where it is.
    pub address: usize,
    /// How long it is, in bytes.
    pub size: usize,
}

/// A loaded object, by its program headers.
pub struct Object<'a> {
    base: usize,
    path: *const c_char,
    headers: &'a [ProgramHeader],
}

impl<'a> Object<'a> {
    /// # Safety
    /// `info` comes from dl_iterate_phdr, whose callback it does not outlive.
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
            path: info.dlpi_name,
            headers,
        }
    }

    /// The path ld.so found the object by; it stays where it is as long as the object is loaded.
    pub fn path(&self) -> *const c_char {
        self.path
    }

    fn address(&self, offset: usize) -> usize {
        self.base.wrapping_add(offset)
    }

    /// The segment of the object that has this address.
    pub fn segment_with(&self, address: usize) -> Option<Range<usize>> {
        self.headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .map(|header| {
                let start = self.address(header.p_vaddr as usize);
                start..start.wrapping_add(header.p_memsz as usize)
            })
            .find(|segment| segment.contains(&address))
    }

    /// The dynamic symbols of the object, if it has any.
    pub fn symbols(&self) -> Option<Symbols<'a>> {
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
        const DT_GNU_HASH: isize = 0x6fff_fef5;

        let dynamic = self
            .headers
            .iter()
            .find(|header| header.p_type == libc::PT_DYNAMIC)?;
        let mut entry =
            ptr::with_exposed_provenance::<Dynamic>(self.address(dynamic.p_vaddr as usize));
        let (mut symbols, mut strings, mut gnu_hash, mut old_hash) = (0, 0, 0, 0);
        loop {
            // SAFETY: the object is loaded, so its dynamic section is where its program header says, and `entry` is at or
            // before the DT_NULL that ends it.
            let Dynamic { tag, value } = unsafe { entry.read() };
            // glibc has replaced offsets by addresses in most objects, not in the vDSO; musl has not.
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
            entry = entry.wrapping_add(1);
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

/// The dynamic symbol table of an object, and what there is to search it with.
pub struct Symbols<'a> {
    base: usize,
    symbols: *const Symbol,
    strings: *const c_char,
    hash: Hash,
    object: PhantomData<&'a ProgramHeader>,
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
        // SAFETY: all words are asked for that the table's own counts say are there; ld.so relies on the same ones.
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
    /// The object's hash table says that there is a symbol of this index.
    unsafe fn if_it_is(&self, index: u32, wanted: &Name) -> Option<Function> {
        const STT_FUNC: u8 = 2;
        // SAFETY: so the symbol table has it, which stays as it is while `self` lives.
        let symbol = unsafe { &*self.symbols.wrapping_add(index as usize) };
        let name = self.strings.wrapping_add(symbol.st_name as usize);
        // SAFETY: there the string table has the symbol's name, with a NUL at its end.
        let name = unsafe { CStr::from_ptr(name) };
        let is_function = symbol.st_info & 0xf == STT_FUNC && symbol.st_shndx != 0;
        (is_function && wanted.is(name)).then(|| Function {
            address: self.base.wrapping_add(symbol.st_value as usize),
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
        assert!(name.is(c"socket"));
        for other in [c"", c"sock", c"socketpair", c"Socket"] {
            assert!(!name.is(other), "{other:?}");
        }
    }

    #[test]
    fn finds_what_libc_defines_and_nothing_else() {
        static PRESENT: Name = Name::new(c"socket");
        static ABSENT: Name = Name::new(c"no_such_function");
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
