//! Registrations of a socket in epoll(7), as /proc/PID/fdinfo lists them, and which of them can be made again.
//!
//! One line each, after the lines that every file has (proc(5); the inode since Linux 4.12):
//!
//! ```text
//! tfd:        7 events:       1d data:     7f00000007  pos:0 ino:2a6b sdev:8
//! ```

/// What the program has registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registration {
    /// `events` of struct epoll_event.
    pub events: u32,
    /// `data` of struct epoll_event, which the kernel returns to the program.
    pub data: u64,
}

/// Finds the registration of one descriptor in the text, which is passed byte by byte.
pub struct Search {
    fd: u64,
    inode: u64,
    found: Option<Registration>,
    /// The numbers of the line, each after a colon: tfd, events, data, pos, ino, sdev. tfd is decimal; it is read as
    /// hexadecimal, like the rest, and compared with `fd` in the same form.
    fields: [u64; 8],
    /// How many colons there were.
    count: usize,
    at: At,
}

/// Where the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// After a colon, before the number.
    Start,
    Number,
    /// After the number.
    Word,
}

impl Search {
    /// The descriptor, and the inode of its file: another file that is still open may have been registered under the same fd.
    pub fn new(fd: u32, inode: u64) -> Self {
        Self {
            fd: decimal(fd),
            inode,
            found: None,
            fields: [0; 8],
            count: 0,
            at: At::Word,
        }
    }

    /// The next byte.
    pub fn next(&mut self, byte: u8) {
        let Some(field) = self.fields.get_mut(self.count & 7) else {
            return;
        };
        match byte {
            b'0'..=b'9' | b'a'..=b'f' if self.at != At::Word => {
                // ASCII: 'a' & 15 is 1.
                let digit = (byte & 15) + if byte > b'9' { 9 } else { 0 };
                *field = *field << 4 | u64::from(digit);
                self.at = At::Number;
            }
            b' ' if self.at == At::Number => self.at = At::Word,
            b':' => {
                self.count += 1;
                self.at = At::Start;
                // What is left of the line before.
                if let Some(field) = self.fields.get_mut(self.count & 7) {
                    *field = 0;
                }
            }
            b'\n' => {
                let [_, fd, events, data, _, inode, ..] = self.fields;
                if self.count == 6 && (fd, inode) == (self.fd, self.inode) {
                    let events = events as u32;
                    self.found = Some(Registration { events, data });
                }
                (self.count, self.at) = (0, At::Word);
            }
            _ => {}
        }
    }

    /// What was found.
    pub fn found(&self) -> Option<Registration> {
        self.found
    }
}

/// The decimal digits of a number, as those of a hexadecimal one.
#[inline(never)]
pub fn decimal(mut number: u32) -> u64 {
    let (mut digits, mut shift) = (0, 0);
    while number > 0 {
        digits |= u64::from(number % 10) << shift;
        number /= 10;
        shift += 4;
    }
    digits
}

impl Registration {
    /// Whether EPOLL_CTL_ADD makes the same of it on another socket. It always arms EPOLLERR and EPOLLHUP, so that what is
    /// disarmed (EPOLLONESHOT) would report once more; and EPOLLWAKEUP is ignored without CAP_BLOCK_SUSPEND.
    pub fn can_be_made_again(&self) -> bool {
        let (wakeup, one_shot) = (1 << 29, 1 << 30);
        // Besides EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT and EPOLLET.
        let is_armed = self.events & !(0xf << 28) != 0;
        self.events & wakeup == 0 && (self.events & one_shot == 0 || is_armed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1057\n\
        tfd:        7 events:       1d data:     7f00000007  pos:0 ino:2a6b sdev:8\n\
        tfd:       10 events: c0000000 data: ffffffffffffffff  pos:0 ino:2a6c sdev:8\n";

    fn found(fd: u32, inode: u64) -> Option<Registration> {
        let mut search = Search::new(fd, inode);
        TEXT.iter().for_each(|byte| search.next(*byte));
        search.found()
    }

    #[test]
    fn a_registration_is_found_by_descriptor_and_inode() {
        let (events, data) = (0x1d, 0x7f_0000_0007);
        assert_eq!(found(7, 0x2a6b), Some(Registration { events, data }));
        let (events, data) = (0xc000_0000, u64::MAX);
        assert_eq!(found(10, 0x2a6c), Some(Registration { events, data }));
        for (fd, inode) in [(7, 0x2a6c), (16, 0x2a6c), (8, 0x2a6b), (0, 0), (0, 1057)] {
            assert_eq!(found(fd, inode), None);
        }
    }

    #[test]
    fn what_is_disarmed_cannot_be_made_again() {
        let can = |events| Registration { events, data: 0 }.can_be_made_again();
        assert!(can(0x19) && can(0x18) && can(1 << 31 | 0x1d) && can(1 << 28 | 0x19));
        assert!(can(1 << 30 | 0x19) && can(1 << 30 | 0x18) && can(0));
        assert!(!can(1 << 30) && !can(1 << 30 | 1 << 31) && !can(1 << 29 | 0x19));
    }
}
