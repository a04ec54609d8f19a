//! Memory for a new environment: per thread, never given back, safe after vfork.
//!
//! The heap cannot be used: in a child of vfork or posix_spawn its lock may be held by a thread that does not exist there.
//! A new mapping for each call would leak: the child shares the parent's memory, and cannot unmap anything because a
//! successful execve does not return. So each thread has an arena of its own that is used again and again: a vfork child
//! has its parent's thread pointer (and so its errno's address, by which we know it), and the parent waits until the
//! child is gone. The cost is 32 bytes and the largest environment for each thread address that has ever started a program,
//! and 64 KiB more under a seal or with a log ([`exec::STACK`](crate::exec)).
//!
//! An arena is in use if its user is this process or its parent: a signal handler has interrupted an execve, and execs itself
//! or in a child of vfork. Any other user is a child that has become another program.
//!
//! Not provided for:
//!
//! - children of clone(CLONE_VM) without CLONE_VFORK that exec at the same time and have one thread pointer (and so one errno,
//!   which no libc provides for either);
//! - a signal handler that interrupts an execve, and in it a child of vfork whose own child of vfork execs, or one that is not
//!   its parent's child (CLONE_PARENT, a new PID namespace): the interrupted call loses its arena, and fails, or the process
//!   crashes;
//! - a child of vfork that is PID 1 of a new PID namespace after another such child: it looks as if it were the same, so that
//!   each of them leaves its arena behind.

use crate::arch;
use crate::sys;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// A piece of memory, in use.
pub struct Arena {
    address: usize,
    size: usize,
    /// The slot that it belongs to. None: it is unmapped after use.
    slot: Option<&'static ThreadSlot>,
}

/// A thread's place in a table.
struct ThreadSlot {
    /// The thread, or 0. Once claimed, a slot is never released.
    owner: AtomicUsize,
    /// The process that is using the arena, or 0. A vfork child that has become another program has
    /// left its PID here.
    user: AtomicI32,
    address: AtomicUsize,
    size: AtomicUsize,
}

/// Slots of some threads. Until it is used it takes address space only.
struct SlotTable {
    slots: [ThreadSlot; 1023],
    /// The table for threads that have no slot in this one.
    next: TableLink,
}

/// A pointer to a table: null, or the address of a mapping that is a table and is never unmapped.
struct TableLink(AtomicUsize);

/// The first table, mapped in the constructor: all other data becomes read-only then.
static FIRST: TableLink = TableLink(AtomicUsize::new(0));

/// Maps the first table, before anything else here is used.
pub fn prepare() {
    FIRST.map();
}

impl Arena {
    /// At least `size` bytes for this thread, not zeroed.
    #[inline(never)]
    pub fn of_this_thread(size: usize) -> Option<Self> {
        // The kernel maps whole pages; this is the smallest size of a page.
        let size = size.max(1).checked_next_multiple_of(4096)?;
        let slot = ThreadSlot::of_this_thread()?;
        let me = sys::getpid();
        let user = slot.user.load(Ordering::Relaxed);
        if user != 0 && (user == me || user == sys::getppid()) {
            return Some(Self {
                address: sys::map(size).ok()?,
                size,
                slot: None,
            });
        }
        slot.user.store(me, Ordering::Relaxed);
        let mut arena = Self {
            address: slot.address.load(Ordering::Relaxed),
            size: slot.size.load(Ordering::Relaxed),
            slot: Some(slot),
        };
        if arena.size < size {
            let address = sys::map(size).ok()?;
            slot.address.store(address, Ordering::Relaxed);
            slot.size.store(size, Ordering::Relaxed);
            if arena.size > 0 {
                // SAFETY: this was the slot's mapping, and whoever has used it is done.
                unsafe { sys::unmap(arena.address, arena.size) };
            }
            (arena.address, arena.size) = (address, size);
        }
        Some(arena)
    }

    /// The memory. It begins with a page.
    pub fn bytes(&mut self) -> &mut [u8] {
        let bytes = ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: a mapping of this size, which nobody else uses as long as `self` lives.
        unsafe { core::slice::from_raw_parts_mut(bytes, self.size) }
    }
}

impl Drop for Arena {
    #[inline(never)]
    fn drop(&mut self) {
        match self.slot {
            Some(slot) => slot.user.store(0, Ordering::Relaxed),
            // SAFETY: a mapping of its own, whose last user this was.
            None => unsafe { sys::unmap(self.address, self.size) },
        }
    }
}

impl ThreadSlot {
    fn of_this_thread() -> Option<&'static Self> {
        let thread = sys::thread();
        let mut table = FIRST.table()?;
        loop {
            if let Some(slot) = table.slot(thread) {
                return Some(slot);
            }
            // Each of its slots belongs to another thread for good.
            table = table.next.map()?;
        }
    }
}

impl TableLink {
    fn table(&self) -> Option<&'static SlotTable> {
        let table = ptr::with_exposed_provenance::<SlotTable>(self.0.load(Ordering::Relaxed));
        // SAFETY: null, or a table. All zeroes, as it is mapped, are free slots.
        unsafe { table.as_ref() }
    }

    /// The table, made if there is none.
    fn map(&self) -> Option<&'static SlotTable> {
        if self.0.load(Ordering::Relaxed) == 0 {
            let new = sys::map(size_of::<SlotTable>()).ok()?;
            if arch::claim(&self.0, new) != 0 {
                // Another thread was faster.
                // SAFETY: nobody else has heard of this mapping.
                unsafe { sys::unmap(new, size_of::<SlotTable>()) };
            }
        }
        self.table()
    }
}

impl SlotTable {
    /// By open addressing: the first slot from the thread's hash on that is its own or free.
    fn slot(&self, thread: usize) -> Option<&ThreadSlot> {
        let (before, from) = self
            .slots
            .split_at_checked((thread >> 6) % self.slots.len())?;
        from.iter().chain(before).find(|slot| {
            let owner = arch::claim(&slot.owner, thread);
            owner == 0 || owner == thread
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_place_however_many_there_are() {
        let first = TableLink(AtomicUsize::new(0));
        let table = first.map().unwrap();
        for thread in 1..=table.slots.len() {
            assert!(table.slot(thread << 6).is_some());
        }
        assert!(table.slot(1 << 20).is_none());
        let place = table.slot(7 << 6).unwrap();
        assert!(ptr::eq(place, table.slot(7 << 6).unwrap()));
        let second = table.next.map().unwrap();
        assert!(!ptr::eq(table, second) && second.slot(1 << 20).is_some());
        assert!(ptr::eq(second, table.next.map().unwrap()));
    }

    #[test]
    fn an_arena_is_used_again_unless_it_is_in_use() {
        prepare();
        let mut first = Arena::of_this_thread(100).unwrap();
        first.bytes().fill(1);
        let mut second = Arena::of_this_thread(100).unwrap();
        assert!(!ptr::eq(first.bytes(), second.bytes()));
        let address = first.bytes().as_ptr().addr();
        drop(first);
        assert_eq!(
            Arena::of_this_thread(50).unwrap().bytes().as_ptr().addr(),
            address
        );
        assert_eq!(
            Arena::of_this_thread(1 << 20).unwrap().bytes().len(),
            1 << 20
        );
        assert!(!Arena::of_this_thread(0).unwrap().bytes().is_empty());
        assert!(Arena::of_this_thread(usize::MAX).is_none());
    }
}
