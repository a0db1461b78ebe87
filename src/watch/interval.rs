//! Which intervals hold a key: an interval tree.
//!
//! A balanced (AVL) search tree ordered by start, then end. Each node also knows the highest end below it, so a search
//! leaves out every subtree that ends too early: it visits the path to the key, and what it finds. The tree balances
//! itself, so no order of insertion that clients choose can make it deep.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::model::{KeyRange, RangeEnd};

/// Values by the interval that they belong to; one value an interval.
#[derive(Debug)]
pub(super) struct IntervalTree<V> {
    root: Tree<V>,
}

type Tree<V> = Option<Box<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    interval: Interval,
    value: V,
    /// The highest end in this subtree.
    end_max: End,
    height: u8,
    left: Tree<V>,
    right: Tree<V>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    start: Bytes,
    end: End,
}

/// Exclusive. The order of the variants is the order of ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Unbounded,
}

impl End {
    fn is_above(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < end.as_ref(),
            End::Unbounded => true,
        }
    }
}

impl Interval {
    /// A single key is the interval up to the next possible one.
    fn of(keys: &KeyRange) -> Interval {
        let end = match &keys.end {
            RangeEnd::Single => End::Before([keys.start.as_ref(), b"\0"].concat().into()),
            RangeEnd::Before(end) => End::Before(end.clone()),
            RangeEnd::Unbounded => End::Unbounded,
        };
        Interval { start: keys.start.clone(), end }
    }
}

impl<V> IntervalTree<V> {
    pub(super) fn get(&self, keys: &KeyRange) -> Option<&V> {
        let (interval, mut tree) = (Interval::of(keys), &self.root);
        while let Some(node) = tree {
            match interval.cmp(&node.interval) {
                Ordering::Less => tree = &node.left,
                Ordering::Greater => tree = &node.right,
                Ordering::Equal => return Some(&node.value),
            }
        }
        None
    }

    /// The value of an interval, made by `make` if there is none.
    pub(super) fn get_or_insert_with(&mut self, keys: &KeyRange, make: impl FnOnce() -> V) -> &V {
        if self.get(keys).is_none() {
            self.root = Some(insert(self.root.take(), Interval::of(keys), make()));
        }
        self.get(keys).expect("it was there or was just inserted")
    }

    pub(super) fn remove(&mut self, keys: &KeyRange) {
        self.root = remove(self.root.take(), &Interval::of(keys));
    }

    /// Calls `each` with the value of every interval that holds `key`, in order of start.
    pub(super) fn each_holding(&self, key: &[u8], each: &mut impl FnMut(&V)) {
        visit(&self.root, key, each);
    }
}

impl<V> Default for IntervalTree<V> {
    fn default() -> Self {
        IntervalTree { root: None }
    }
}

fn visit<V>(tree: &Tree<V>, key: &[u8], each: &mut impl FnMut(&V)) {
    let Some(node) = tree.as_deref().filter(|node| node.end_max.is_above(key)) else { return };
    visit(&node.left, key, each);
    if node.interval.start.as_ref() <= key {
        if node.interval.end.is_above(key) {
            each(&node.value);
        }
        visit(&node.right, key, each);
    }
}

fn insert<V>(tree: Tree<V>, interval: Interval, value: V) -> Box<Node<V>> {
    let Some(mut node) = tree else {
        let end_max = interval.end.clone();
        return Box::new(Node { interval, value, end_max, height: 1, left: None, right: None });
    };
    if interval < node.interval {
        node.left = Some(insert(node.left.take(), interval, value));
    } else {
        node.right = Some(insert(node.right.take(), interval, value));
    }
    balance(node)
}

fn remove<V>(tree: Tree<V>, interval: &Interval) -> Tree<V> {
    let mut node = tree?;
    match interval.cmp(&node.interval) {
        Ordering::Less => node.left = remove(node.left.take(), interval),
        Ordering::Greater => node.right = remove(node.right.take(), interval),
        Ordering::Equal => {
            let (left, right) = (node.left.take(), node.right.take());
            let Some(right) = right else { return left };
            let (mut next, rest) = take_first(right);
            next.left = left;
            next.right = rest;
            return Some(balance(next));
        }
    }
    Some(balance(node))
}

/// Takes the first node out of a subtree.
fn take_first<V>(mut node: Box<Node<V>>) -> (Box<Node<V>>, Tree<V>) {
    let Some(left) = node.left.take() else {
        let rest = node.right.take();
        return (node, rest);
    };
    let (first, rest) = take_first(left);
    node.left = rest;
    (first, Some(balance(node)))
}

fn height<V>(tree: &Tree<V>) -> u8 {
    tree.as_ref().map_or(0, |node| node.height)
}

/// Restores the invariants of a node whose subtrees hold theirs, and differ in height by two at most.
fn balance<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    if height(&node.left) > height(&node.right) + 1 {
        let left = node.left.take().expect("the higher side has a node");
        let leans_in = height(&left.right) > height(&left.left);
        node.left = Some(if leans_in { rotate_left(left) } else { left });
        return rotate_right(node);
    }
    if height(&node.right) > height(&node.left) + 1 {
        let right = node.right.take().expect("the higher side has a node");
        let leans_in = height(&right.left) > height(&right.right);
        node.right = Some(if leans_in { rotate_right(right) } else { right });
        return rotate_left(node);
    }
    update(&mut node);
    node
}

fn rotate_left<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    let mut top = node.right.take().expect("only a node with a right side is turned left");
    node.right = top.left.take();
    update(&mut node);
    top.left = Some(node);
    update(&mut top);
    top
}

fn rotate_right<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    let mut top = node.left.take().expect("only a node with a left side is turned right");
    node.left = top.right.take();
    update(&mut node);
    top.right = Some(node);
    update(&mut top);
    top
}

fn update<V>(node: &mut Node<V>) {
    node.height = 1 + height(&node.left).max(height(&node.right));
    let below = [&node.left, &node.right].into_iter().flatten().map(|child| &child.end_max);
    node.end_max = below.chain([&node.interval.end]).max().expect("the chain has the node's own").clone();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range() -> impl Strategy<Value = KeyRange> {
        let bytes = || prop::collection::vec(0u8..4, 0..4).prop_map(Bytes::from);
        prop_oneof![
            bytes().prop_map(KeyRange::prefix),
            bytes().prop_map(KeyRange::single),
            (bytes(), bytes()).prop_map(|(start, end)| KeyRange { start, end: RangeEnd::Before(end) }),
            bytes().prop_map(|start| KeyRange { start, end: RangeEnd::Unbounded }),
        ]
    }

    fn check<V>(tree: &Tree<V>) -> u8 {
        let Some(node) = tree else { return 0 };
        let (left, right) = (check(&node.left), check(&node.right));
        assert!(left.abs_diff(right) <= 1, "{left} and {right}");
        assert_eq!(node.height, 1 + left.max(right));
        node.height
    }

    proptest! {
        #[test]
        fn finds_what_a_look_at_each_range_finds(
            ranges in prop::collection::vec((range(), any::<bool>()), 0..60),
            key in prop::collection::vec(0u8..4, 0..5),
        ) {
            let mut tree = IntervalTree::default();
            let mut naive: Vec<(Interval, KeyRange)> = Vec::new();
            for (keys, is_kept) in &ranges {
                let interval = Interval::of(keys);
                if *is_kept {
                    tree.get_or_insert_with(keys, || interval.clone());
                    if !naive.iter().any(|(known, _)| *known == interval) {
                        naive.push((interval, keys.clone()));
                    }
                } else {
                    // Removes one that is there, if there is any.
                    let victim = naive.pop().map_or(keys.clone(), |(_, keys)| keys);
                    tree.remove(&victim);
                }
                check(&tree.root);
            }
            let mut expected: Vec<_> =
                naive.into_iter().filter(|(_, keys)| keys.contains(&key)).map(|(interval, _)| interval).collect();
            expected.sort();
            let mut found = Vec::new();
            tree.each_holding(&key, &mut |interval| found.push(interval.clone()));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn stays_shallow_when_ranges_come_in_order() {
        let mut tree = IntervalTree::default();
        for i in 0..10_000u32 {
            tree.get_or_insert_with(&KeyRange::prefix(Bytes::from(i.to_be_bytes().to_vec())), || ());
        }
        assert!(check(&tree.root) <= 20, "AVL: at most 1.44 log2 n");
    }
}
