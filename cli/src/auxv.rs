//! /proc/PID/auxv: the auxiliary vector that the kernel gave to a program when it was executed (getauxval(3)).

/// AT_SECURE: whether the program has more privileges than its caller. A vector without it is not trusted.
pub fn is_secure(auxv: &[u8]) -> bool {
    value(auxv, libc::AT_SECURE) != Some(0)
}

/// The value of an entry.
pub fn value(auxv: &[u8], number: u64) -> Option<u64> {
    let words: Vec<u64> = words(auxv, if is_of_64_bits(auxv) { 8 } else { 4 }).collect();
    let pair = words
        .chunks_exact(2)
        .find(|pair| pair.first() == Some(&number))?;
    pair.last().copied()
}

/// Whether it is the vector of a 32-bit program.
pub fn is_of_32_bits(auxv: &[u8]) -> bool {
    !auxv.is_empty() && !is_of_64_bits(auxv)
}

/// Pairs of a small number and a value; a 32-bit vector has a value where a 64-bit one has the upper half of the number.
fn is_of_64_bits(auxv: &[u8]) -> bool {
    words(auxv, 8)
        .next()
        .is_some_and(|word| word <= u32::MAX.into())
}

fn words(auxv: &[u8], size: usize) -> impl Iterator<Item = u64> {
    auxv.chunks_exact(size).map(|word| {
        let bytes = word.iter().rev();
        bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_says_whether_a_program_gains_privileges() {
        let wide = |pairs: &[u64]| {
            pairs
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<_>>()
        };
        let narrow = |pairs: &[u32]| {
            pairs
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<_>>()
        };
        assert!(is_secure(&wide(&[6, 4096, 23, 1, 0, 0])));
        assert!(!is_secure(&wide(&[6, 4096, 23, 0, 0, 0])));
        assert!(is_secure(&narrow(&[6, 4096, 23, 1, 0, 0])));
        assert!(!is_secure(&narrow(&[6, 4096, 23, 0, 9, 1, 0, 0])));
        assert!(!is_secure(&narrow(&[6, 4096, 9, 1, 23, 0, 0, 0])));
        assert!(is_secure(b""));
        assert!(is_of_32_bits(&narrow(&[6, 4096, 0, 0])));
        assert!(!is_of_32_bits(&wide(&[6, 4096, 0, 0])));
        assert!(!is_of_32_bits(b""));
    }

    #[test]
    fn mutated_vectors() {
        let valid = [6_u64, 4096, 23, 1, 0, 0].map(u64::to_le_bytes).concat();
        crate::fuzz::each_input(&[&valid], |auxv| {
            is_secure(auxv);
            is_of_32_bits(auxv);
        });
    }
}
