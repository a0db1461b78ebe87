//! Inputs for a body: mutations of well-formed ones and of those that were read before, and any bytes.
//!
//! They depend on a seed alone. A body that reads an input keeps it as one to go on from, so that inputs get further into
//! a decoder than a few changes of a well-formed one would. An input that makes the body panic is made shorter as long as
//! it still does, and printed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use lodemark::env::{Clock, Random, SeededRandom, SystemClock};

/// Tells whether it read the bytes as something.
pub type Body = fn(&[u8]) -> bool;

/// Inputs in the gate; few for a body that takes its time.
pub const INPUTS_MANY: u64 = 2000;
pub const INPUTS_FEW: u64 = 200;
/// Inputs to go on from.
const POOL_LEN_MAX: usize = 512;
const INPUT_BYTES_MAX: usize = 16 * 1024;
const MUTATIONS_MAX: usize = 5;
/// Tries to make an input shorter that makes a body panic; each that does prints its message.
const SHORTENINGS_MAX: u32 = 200;
/// Numbers that a length, a count or an index should not be.
const NUMBERS: [u64; 10] = [0, 1, 2, 127, 255, 65_535, 1 << 31, u32::MAX as u64, i64::MAX as u64, u64::MAX];

/// Runs a body on many inputs, made of these, which it must read.
pub fn try_many(body: Body, seeds: Vec<Vec<u8>>) {
    for (i, seed) in seeds.iter().enumerate() {
        assert!(body(seed), "the well-formed input {i} is not read: {}", seed.escape_ascii());
    }
    try_some(body, seeds, INPUTS_MANY);
}

/// Runs a body on so many inputs, made of these, which it may refuse, unless the environment says how many.
pub fn try_some(body: Body, seeds: Vec<Vec<u8>>, usual: u64) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    if let Ok(hex) = std::env::var("LODEMARK_FUZZ_INPUT") {
        println!("{test}: read: {}", body(&of_hex(&hex)));
        return;
    }
    let (count, seed) = (number("LODEMARK_FUZZ_INPUTS").unwrap_or(usual), number("LODEMARK_FUZZ_SEED").unwrap_or(1));

    let clock = SystemClock::default();
    let (mut read, mut slowest) = (0u64, (Duration::ZERO, 0));
    let mut inputs = Inputs::new(seed, seeds);
    for _ in 0..count {
        let input = inputs.next();
        let start = clock.now();
        match catch_unwind(AssertUnwindSafe(|| body(&input))) {
            Ok(true) => {
                read += 1;
                slowest = slowest.max((clock.now().since(start), input.len()));
                inputs.keep(input);
            }
            Ok(false) => slowest = slowest.max((clock.now().since(start), input.len())),
            Err(_) => {
                let input = to_hex(&shortened(body, input));
                panic!("this input makes it panic:\nLODEMARK_FUZZ_INPUT={input} cargo test --test it {test}");
            }
        }
    }
    // A body that reads nothing, or everything, shows nothing.
    assert!(read > 0, "none of {count} inputs was read");
    let (slowest, bytes) = slowest;
    println!("{test}: {count} inputs, {read} of them read, no panic; the slowest took {slowest:?} for {bytes} bytes");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Takes away what is not needed for a panic: large parts first, then smaller ones.
fn shortened(body: Body, mut input: Vec<u8>) -> Vec<u8> {
    let panics = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| body(input))).is_err();
    let (mut part, mut tries) = (input.len() / 2, 0);
    while part > 0 {
        let mut at = 0;
        while at < input.len() && tries < SHORTENINGS_MAX {
            let mut shorter = input.clone();
            shorter.drain(at..input.len().min(at + part));
            tries += 1;
            if panics(&shorter) { input = shorter } else { at += part }
        }
        part /= 2;
    }
    input
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("the input is hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// Makes inputs.
struct Inputs {
    random: SeededRandom,
    pool: Vec<Vec<u8>>,
    /// The first so many are the well-formed ones, which stay.
    seeds: usize,
}

impl Inputs {
    fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Inputs {
        Inputs { random: SeededRandom::new(seed), seeds: seeds.len(), pool: seeds }
    }

    /// Goes on from this one, too.
    fn keep(&mut self, input: Vec<u8>) {
        if self.pool.len() < POOL_LEN_MAX {
            self.pool.push(input);
        } else {
            let at = self.seeds + self.below(self.pool.len() - self.seeds);
            self.pool[at] = input;
        }
    }

    fn next(&mut self) -> Vec<u8> {
        if self.random.next_u64().is_multiple_of(16) {
            let len = self.below(300);
            return self.bytes(len);
        }
        // Half of them from the well-formed ones: those that were read before may have become monotonous. Some stay as they
        // are: a server that has done something may answer otherwise.
        let from = if self.random.next_u64().is_multiple_of(2) { self.seeds } else { self.pool.len() };
        let mut input = self.pool[self.below(from)].clone();
        for _ in 0..self.below(MUTATIONS_MAX) {
            self.mutate(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            *input = self.bytes(8);
        }
        let len = input.len();
        let at = self.below(len);
        match self.below(10) {
            0 | 1 => input[at] ^= 1 << self.below(8),
            2 => input[at] = self.random.next_u64() as u8,
            3 => input[at] = input[at].wrapping_add(if self.random.next_u64() & 1 == 0 { 1 } else { 255 }),
            4 => input.truncate(at),
            5 => {
                let count = 1 + self.below(19);
                let more = self.bytes(count);
                input.splice(at..at, more);
            }
            6 => {
                let count = 1 + self.below(19);
                input.drain(at..len.min(at + count));
            }
            7 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let count = (len - at).min([1, 2, 4, 8][self.below(4)]);
                input[at..at + count].copy_from_slice(&number[..count]);
            }
            // A part again, or of another input.
            8 => {
                let part = self.part(input);
                input.splice(at..at, part);
            }
            _ => {
                let other = self.below(self.pool.len());
                let part = self.part(&self.pool[other]);
                let end = len.min(at + if self.random.next_u64() & 1 == 0 { 0 } else { part.len() });
                input.splice(at..end, part);
            }
        }
    }

    fn part(&self, of: &[u8]) -> Vec<u8> {
        if of.is_empty() {
            return Vec::new();
        }
        let (from, len) = (self.below(of.len()), 1 + self.below(64));
        of[from..of.len().min(from + len)].to_vec()
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.random.next_u64() as u8).collect()
    }

    fn below(&self, bound: usize) -> usize {
        (self.random.next_u64() % bound as u64) as usize
    }
}
