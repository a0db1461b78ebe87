//! Simple tokens: names for callers that members remember.
//!
//! `QmFzZTY0IGlzIG5v.4711`: sixteen letters that the proposer drew, and the index of the log entry. Every member that applies
//! the entry makes the same token, and each counts by its own clock when it was last used. A token is as good as a password
//! while it lives, so it shows in no log.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Ended;
use crate::env::Tick;

/// Tokens at a time. Beyond that the one that would end soonest goes: its caller proves anew who it is.
const TOKENS_MAX: usize = 100_000;
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LETTERS_IN_TOKEN: usize = 16;
/// A use that would move the end by less than this does not move it.
const RESOLUTION: Duration = Duration::from_secs(1);

/// The tokens that live on one member.
pub struct SimpleTokens {
    ttl: Duration,
    live: HashMap<Arc<str>, Live>,
    /// Each by its end; the number tells apart what ends at once.
    by_end: BTreeMap<(Tick, u64), Arc<str>>,
    /// The number of the last one.
    made: u64,
}

struct Live {
    user: Arc<str>,
    end: (Tick, u64),
}

impl SimpleTokens {
    /// None yet. Each ends `ttl` after its last use.
    #[must_use]
    pub fn new(ttl: Duration) -> SimpleTokens {
        SimpleTokens { ttl, live: HashMap::new(), by_end: BTreeMap::new(), made: 0 }
    }

    /// Makes a token for a user.
    pub fn assign(&mut self, user: &str, prefix: &str, index: u64, now: Tick) -> String {
        self.expire(now);
        if self.live.len() >= TOKENS_MAX {
            self.by_end.pop_first().and_then(|(_, soonest)| self.live.remove(&soonest));
        }
        let token = format!("{prefix}.{index}");
        self.made += 1;
        let (name, end): (Arc<str>, _) = (token.as_str().into(), (now.after(self.ttl), self.made));
        // Letters that were drawn twice at one index: the later user has the token.
        if let Some(before) = self.live.insert(name.clone(), Live { user: user.into(), end }) {
            self.by_end.remove(&before.end);
        }
        self.by_end.insert(end, name);
        token
    }

    /// The user of a token that lives, which it does for longer now.
    pub fn user_of(&mut self, token: &str, now: Tick) -> Option<&str> {
        self.expire(now);
        let live = self.live.get_mut(token)?;
        let end = (now.after(self.ttl), live.end.1);
        if end.0.since(live.end.0) >= RESOLUTION
            && let Some(name) = self.by_end.remove(&live.end)
        {
            self.by_end.insert(end, name);
            live.end = end;
        }
        Some(&live.user)
    }

    /// Ends tokens before their time.
    pub fn end(&mut self, ended: &Ended) {
        self.live.retain(|_, live| match ended {
            Ended::All => false,
            Ended::Of(user) => *live.user != **user,
        });
        self.by_end.retain(|_, token| self.live.contains_key(token));
    }

    /// Lets go of what nobody has used for too long.
    fn expire(&mut self, now: Tick) {
        while let Some(first) = self.by_end.first_entry()
            && first.key().0 < now
        {
            self.live.remove(&first.remove());
        }
    }
}

impl fmt::Debug for SimpleTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimpleTokens").field("ttl", &self.ttl).field("live", &self.live.len()).finish_non_exhaustive()
    }
}

/// Letters for a token; `random` gives numbers, each equally likely.
pub fn letters(mut random: impl FnMut() -> u64) -> String {
    let one = |number: u64| char::from(LETTERS[usize::try_from(number % LETTERS.len() as u64).unwrap_or_default()]);
    // So many more numbers than letters that none is drawn more often to speak of.
    (0..LETTERS_IN_TOKEN).map(|_| one(random())).collect()
}

/// The log index in a token; `None` if it is none of ours.
#[must_use]
pub fn index_of(token: &str) -> Option<u64> {
    let (_, index) = token.split_once('.')?;
    // Two dots are no number either. A sign would be read.
    if index.starts_with('+') { None } else { index.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Tick {
        Tick(Duration::from_secs(seconds))
    }

    #[test]
    fn a_token_lives_as_long_as_it_is_used() {
        let mut tokens = SimpleTokens::new(TTL);
        let token = tokens.assign("a", "letters", 7, at(0));
        assert_eq!(token, "letters.7");
        assert_eq!(tokens.user_of(&token, at(300)), Some("a"));
        assert_eq!(tokens.user_of(&token, at(600)), Some("a"));
        assert_eq!(tokens.user_of(&token, at(901)), None);
        assert_eq!(tokens.user_of(&token, at(901)), None);
        assert!(tokens.live.is_empty() && tokens.by_end.is_empty());
    }

    #[test]
    fn tokens_end_with_their_user_or_all_together() {
        let mut tokens = SimpleTokens::new(TTL);
        let (a, b) = (tokens.assign("a", "x", 1, at(0)), tokens.assign("b", "x", 2, at(0)));
        tokens.end(&Ended::Of("a".to_owned()));
        assert_eq!(tokens.user_of(&a, at(1)), None);
        assert_eq!(tokens.user_of(&b, at(1)), Some("b"));
        tokens.end(&Ended::All);
        assert_eq!(tokens.user_of(&b, at(1)), None);
        assert!(tokens.live.is_empty() && tokens.by_end.is_empty());
    }

    #[test]
    fn too_many_push_out_what_was_not_used_for_longest() {
        let mut tokens = SimpleTokens::new(TTL);
        let (first, second) = (tokens.assign("a", "x", 0, at(0)), tokens.assign("b", "y", 0, at(0)));
        assert!(tokens.user_of(&first, at(10)).is_some());
        for index in 1..TOKENS_MAX as u64 {
            tokens.assign("c", "z", index, at(20));
        }
        assert_eq!(tokens.live.len(), TOKENS_MAX);
        assert_eq!(tokens.user_of(&second, at(20)), None);
        assert_eq!(tokens.user_of(&first, at(20)), Some("a"));
    }

    #[test]
    fn an_index_is_a_number_behind_one_dot() {
        assert_eq!(index_of("abc.18446744073709551615"), Some(u64::MAX));
        assert_eq!(index_of(".0"), Some(0));
        for odd in ["", "abc", "abc.", "abc.x", "abc.-1", "abc.+1", "abc.1.2", "abc.18446744073709551616", "abc. 1"] {
            assert_eq!(index_of(odd), None, "{odd}");
        }
    }

    #[test]
    fn letters_are_drawn() {
        let mut number = 0;
        let drawn = letters(|| {
            number += 26;
            number
        });
        assert_eq!(drawn, "AaAaAaAaAaAaAaAa");
    }

    #[test]
    fn nothing_of_a_token_shows() {
        let mut tokens = SimpleTokens::new(TTL);
        tokens.assign("alice", "letters", 1, at(0));
        assert_eq!(format!("{tokens:?}"), "SimpleTokens { ttl: 300s, live: 1, .. }");
    }
}
