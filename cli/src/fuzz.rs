//! Mutated untrusted input, for the tests of each of its readers.
//!
//! An input is a valid one with some changes that parsers stumble over. The changes depend only on the input's number,
//! which a failure names. `cargo test` tries some for each reader, `make fuzz` 100,000 (VRFBIND_FUZZ).
//!
//! A reader may return anything, but may not panic, compute for a [`LONGEST`], or use more than [`MOST`] memory.

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use std::thread;
use std::time::Duration;

const FEW: u64 = 1000;

/// The most processor time for one input.
const LONGEST: Duration = Duration::from_secs(1);

/// The most bytes that all inputs together may add to the peak memory of this process.
const MOST: i64 = 64 << 20;

/// The length of an input. Readers of files stop there.
const LONGEST_INPUT: usize = 1 << 20;

/// Calls `read` with many inputs made of these.
pub fn each_input(valid: &[&[u8]], read: impl Fn(&[u8])) {
    let count = std::env::var("VRFBIND_FUZZ");
    let count = count.map_or(FEW, |count| count.parse().unwrap());
    let at_first = memory();
    for number in 0..count {
        let input = input(valid, number);
        let named = Named(number);
        let begin = processor_time();
        read(&input);
        let took = processor_time() - begin;
        assert!(took < LONGEST, "{took:?}");
        assert!(
            memory() - at_first < MOST,
            "{} more bytes",
            memory() - at_first
        );
        drop(named);
    }
}

/// Prints which input it was, if it was the last one.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("input {} of {:?}", self.0, thread::current().name());
        }
    }
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

fn memory() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).unwrap().max_rss() << 10
}

fn input(valid: &[&[u8]], number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let mut input = random.one_of(valid).to_vec();
    // Mostly one or two, since a reader stops at the first that it notices.
    let most = random.one_of(&[1, 2, 4, 16]);
    for _ in 0..=random.below(most) {
        change(&mut input, valid, &mut random);
    }
    input.truncate(LONGEST_INPUT);
    input
}

fn change(input: &mut Vec<u8>, valid: &[&[u8]], random: &mut Random) {
    const NUMBERS: [u64; 12] = [
        0,
        1,
        4,
        0x7f,
        0x80,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        1 << 62,
        u64::MAX - 7,
        u64::MAX,
    ];
    // Headers are at the beginning.
    let reach = random.one_of(&[64, 512, usize::MAX]);
    let at = random.below(input.len().min(reach) + 1);
    let end = (at + random.below(64)).min(input.len());
    match random.below(8) {
        0 => input
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => input
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte = random.next() as u8),
        2 | 3 => {
            let number = random.one_of(&NUMBERS).wrapping_add(random.below(2) as u64);
            let size = random.one_of(&[1, 2, 4, 8]);
            let aligned = at / size * size;
            let bytes = number.to_le_bytes();
            let places = input.iter_mut().skip(aligned).take(size);
            places.zip(bytes).for_each(|(to, from)| *to = from);
        }
        4 => input.truncate(at),
        5 => drop(input.drain(at..end)),
        6 => {
            let piece = random.one_of(valid);
            let from = random.below(piece.len() + 1);
            input.splice(at..end, piece[from..].iter().copied().take(256));
        }
        _ => {
            // Rarely so many that the whole input is nearly as long as allowed.
            let most = random.one_of(&[2, 4, 8, 16, 32, 64, 128, 1 << 14]);
            let copies = input[at..end].repeat(random.below(most));
            input.splice(at..at, copies.into_iter().take(LONGEST_INPUT));
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

// ---- The readers of `rules`, which has no tests with std and clocks of its own ----

mod rules_ {
    use super::each_input;
    use rules::executable::{self, Inode, Process};
    use rules::{DeviceName, preload, settings};
    use std::ffi::CStr;
    use std::io::Read;

    /// A file, which also stands for each interpreter that it names.
    #[derive(Clone, Copy)]
    struct File<'a>(&'a [u8]);

    impl executable::File for File<'_> {
        type Error = ();

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
            let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..));
            let rest = rest.unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Some(length)
        }

        fn inode(&self) -> Inode {
            Inode::default()
        }

        fn interpreter(self, _: &CStr) -> Result<Self, ()> {
            Ok(self)
        }
    }

    #[test]
    fn mutated_programs() {
        let mut myself = [0; 4096];
        let program = std::fs::File::open("/proc/self/exe");
        program.unwrap().read_exact(&mut myself).unwrap();
        let static_program = crate::library::example(8);
        let valid: [&[u8]; 4] = [
            &myself,
            &static_program,
            b"#! /bin/sh -e\nexit\n",
            b"#!/a\n",
        ];
        each_input(&valid, |bytes| {
            let _ = executable::judge(File(bytes), &Process::default());
            executable::loader(&File(bytes));
        });
    }

    #[test]
    fn mutated_environments() {
        let valid: [&[u8]; 2] = [
            b"VRFBIND_VRF=blue\0VRFBIND_SEAL=1\0VRFBIND_LOG=/var/log/x\0LD_PRELOAD=a.so:/b.so c.so\0A\0",
            b"LD_PRELOAD=/usr/lib/libvrfbind.so\0VRFBIND_VRF=default\0VRFBIND_LOG=stderr\0",
        ];
        each_input(&valid, |bytes| {
            let value = |variable: &'static str| {
                bytes
                    .split(|byte| *byte == 0)
                    .find_map(|entry| entry.strip_prefix(variable.as_bytes())?.strip_prefix(b"="))
            };
            let _ = settings::parse(value, || true);
            let _ = DeviceName::new(bytes);
            let list = value("LD_PRELOAD").unwrap_or_default();
            preload::contains(list, b"/usr/lib/libvrfbind.so");
            preload::is_nameable(list);
        });
    }
}
