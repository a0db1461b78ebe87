//! The additive hash that tells whether a table still holds what was written.
//!
//! Each entry has a 128-bit digest over table, key and value. A [`TableSum`] is the sum of the digests modulo 2^128,
//! beside the number of entries: the order of entries does not matter, adding is one addition, and removing an entry
//! undoes adding it. So the sum is kept up to date by each commit without reading the table, and a load that adds up
//! what it finds must come to the same sum. An entry that was lost, revived or changed shows.
//!
//! # The digest
//!
//! Two lanes of 64 bits take the input in blocks of 16 bytes (two little-endian words `x`, `y`; the last block of key
//! and of value is filled with zeros). `fold(p, q)` is the 128-bit product of `p` and `q`, its halves xored.
//!
//! ```text
//! a = rotl(a ^ fold(x ^ K0, y ^ K1), 29) * K4
//! b = rotl(b + fold(x ^ K2, y ^ K3), 31) * K5
//! ```
//!
//! Every step is a bijection of the lane for a given block and never loses what came before. The lanes start from the
//! table's number and the two lengths and end in the finalizer of SplitMix64, each mixed with the other. It is fast and
//! spreads well; it is no defence against an adversary, who could as well rewrite the sum.

const K: [u64; 6] = [
    // Odd numbers with mixed bits: fractions of the golden ratio, of square roots and of e.
    0x9e37_79b9_7f4a_7c15,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0xadf8_5458_a2bb_4a9b,
];

/// The entries of one table, as a number and a hash that do not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSum {
    /// How many entries.
    pub count: u64,
    /// The sum of their digests, modulo 2^128.
    pub hash: u128,
}

impl TableSum {
    /// Takes an entry in.
    pub(super) fn add(&mut self, table: u8, key: &[u8], value: &[u8]) {
        self.hash = self.hash.wrapping_add(digest(table, key, value));
        self.count = self.count.wrapping_add(1);
    }

    /// The sum of both.
    pub(super) fn plus(self, other: TableSum) -> TableSum {
        TableSum { count: self.count.wrapping_add(other.count), hash: self.hash.wrapping_add(other.hash) }
    }

    /// Takes an entry out that was taken in before.
    pub(super) fn remove(&mut self, table: u8, key: &[u8], value: &[u8]) {
        self.hash = self.hash.wrapping_sub(digest(table, key, value));
        self.count = self.count.wrapping_sub(1);
    }
}

fn digest(table: u8, key: &[u8], value: &[u8]) -> u128 {
    let lengths = (key.len() as u64).rotate_left(40) ^ value.len() as u64;
    let mut lanes = Lanes { a: K[0] ^ u64::from(table), b: K[3].wrapping_add(u64::from(table)) };
    lanes.absorb(lengths, u64::from(table));
    lanes.absorb_bytes(key);
    lanes.absorb_bytes(value);
    lanes.finish()
}

struct Lanes {
    a: u64,
    b: u64,
}

impl Lanes {
    fn absorb_bytes(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<16>();
        for block in blocks {
            self.absorb_block(u128::from_le_bytes(*block));
        }
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            self.absorb_block(u128::from_le_bytes(block));
        }
    }

    fn absorb_block(&mut self, block: u128) {
        // The casts split the block into its words.
        self.absorb(block as u64, (block >> 64) as u64);
    }

    #[inline]
    fn absorb(&mut self, x: u64, y: u64) {
        self.a = (self.a ^ fold(x ^ K[0], y ^ K[1])).rotate_left(29).wrapping_mul(K[4]);
        self.b = self.b.wrapping_add(fold(x ^ K[2], y ^ K[3])).rotate_left(31).wrapping_mul(K[5]);
    }

    fn finish(self) -> u128 {
        let low = avalanche(self.a ^ self.b.rotate_left(32));
        let high = avalanche(self.b.wrapping_add(low));
        u128::from(high) << 64 | u128::from(low)
    }
}

fn fold(p: u64, q: u64) -> u64 {
    let product = u128::from(p) * u128::from(q);
    // The casts take the two halves.
    product as u64 ^ (product >> 64) as u64
}

fn avalanche(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_bit_anywhere_changes_about_half_of_the_digest() {
        let value = [0x5a; 100];
        let plain = digest(1, b"key", &value);
        let mut changed_bits = 0;
        for bit in 0..value.len() * 8 {
            let mut other = value;
            other[bit / 8] ^= 1 << (bit % 8);
            let difference = (plain ^ digest(1, b"key", &other)).count_ones();
            assert!((30..=98).contains(&difference), "bit {bit}: {difference} bits differ");
            changed_bits += difference;
        }
        let mean = f64::from(changed_bits) / 800.0;
        assert!((60.0..68.0).contains(&mean), "{mean}");
    }

    #[test]
    fn table_and_the_border_of_key_and_value_count() {
        let inputs: [(u8, &[u8], &[u8]); 6] = [
            (1, b"ab", b"c"),
            (1, b"a", b"bc"),
            (2, b"ab", b"c"),
            (1, b"ab", b"c\0"),
            (1, b"ab\0", b"c"),
            (1, b"", b""),
        ];
        let digests: HashSet<u128> = inputs.iter().map(|(table, key, value)| digest(*table, key, value)).collect();
        assert_eq!(digests.len(), inputs.len());
    }

    #[test]
    fn the_digest_stays_the_same_for_ever() {
        // Files hold it. A change of these numbers is a change of the format.
        assert_eq!(digest(1, b"", b""), 0x5c25_1e78_52d4_d2a8_a2e9_781b_038a_0dc2);
        let long = digest(3, b"key", b"a value of more than sixteen bytes");
        assert_eq!(long, 0xe07f_22f3_7cb3_7152_75ea_5882_2c74_cfb6);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_removing_undoes_adding(
            entries in proptest::collection::vec((any::<u8>(), any::<[u8; 12]>(), any::<Vec<u8>>()), 0..40),
            taken in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let mut forward = TableSum::default();
            let mut backward = TableSum::default();
            for (table, key, value) in &entries {
                forward.add(*table, key, value);
            }
            for (table, key, value) in entries.iter().rev() {
                backward.add(*table, key, value);
            }
            prop_assert_eq!(forward, backward);

            let mut kept = TableSum::default();
            for ((table, key, value), taken) in entries.iter().zip(taken) {
                if taken {
                    forward.remove(*table, key, value);
                } else {
                    kept.add(*table, key, value);
                }
            }
            prop_assert_eq!(forward, kept);
        }
    }
}
