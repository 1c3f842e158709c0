//! Memory of what is read ahead.

use super::ahead::{Ahead, STEP_BYTES};

const STEP: usize = STEP_BYTES as usize;

fn add(ahead: &Ahead, segment: u64, position: u64) -> Option<bytes::Bytes> {
    ahead.reserve(STEP).then(|| ahead.insert(segment, position, vec![segment as u8; STEP], STEP))
}

#[test]
fn pieces_that_clients_still_hold_count_and_old_ones_make_room() {
    let ahead = Ahead::default();
    let mut held = Vec::new();
    for segment in 0..32 {
        held.push(add(&ahead, segment, 0).expect("there is room"));
    }
    // Every piece is on its way to a client: none can go.
    assert!(add(&ahead, 99, 0).is_none(), "the limit is reached");
    drop(held.pop());
    assert!(ahead.get(3, 0, 1, 10, 2 * STEP_BYTES).is_some(), "nothing was given up in vain");
    held.clear();
    for segment in 100..140 {
        assert!(add(&ahead, segment, 0).is_some(), "segment {segment}");
    }
    assert!(ahead.get(139, 0, 1, 10, 2 * STEP_BYTES).is_some());
    assert!(ahead.get(100, 0, 1, 10, 2 * STEP_BYTES).is_none(), "the oldest went first");
}

#[test]
fn a_range_across_two_pieces_that_overlap_is_whole() {
    let ahead = Ahead::default();
    let numbered = |from: usize| (from..from + STEP).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
    for position in [0, STEP / 2] {
        assert!(ahead.reserve(STEP));
        ahead.insert(7, position as u64, numbered(position), STEP);
    }
    let from = STEP / 4;
    let hit = ahead.get(7, from as u64, 1, STEP, u64::MAX).expect("is there");
    assert_eq!(
        hit.bytes,
        numbered(0)[from..]
            .iter()
            .copied()
            .chain(numbered(STEP)[..from].iter().copied())
            .collect::<Vec<u8>>()
    );
    assert_eq!(hit.next, Some((STEP + STEP / 2) as u64), "what follows is to be read ahead");
    let again = ahead.get(7, from as u64, 1, STEP, u64::MAX).expect("is there");
    assert_eq!(again.next, None, "once");
    let mut buffer = vec![0; STEP];
    assert_eq!(ahead.copy(7, from as u64, &mut buffer), STEP);
    assert_eq!(buffer, hit.bytes);
    assert!(ahead.get(8, from as u64, 1, STEP, u64::MAX).is_none(), "another segment");
}

#[test]
fn the_end_of_a_segment_is_not_read_beyond() {
    let ahead = Ahead::default();
    add(&ahead, 1, 0).expect("there is room");
    let hit = ahead.get(1, 0, 1, STEP, STEP_BYTES).expect("is there");
    assert_eq!((hit.bytes.len(), hit.next), (STEP, None));
    assert!(ahead.get(1, STEP_BYTES - 1, 2, STEP, STEP_BYTES).is_none(), "less than a batch is of no use");
}

#[test]
fn the_memory_of_a_piece_that_went_serves_the_next() {
    let ahead = Ahead::default();
    assert!(ahead.reserve(STEP));
    let buffer = ahead.buffer(STEP);
    let place = buffer.as_ptr();
    drop(ahead.insert(1, 0, buffer, STEP));
    for segment in 2..34 {
        add(&ahead, segment, 0).expect("the oldest makes room");
    }
    let buffer = ahead.buffer(STEP / 2);
    assert_eq!((buffer.as_ptr(), buffer.len()), (place, STEP / 2));
    let other = ahead.buffer(STEP);
    assert_ne!(other.as_ptr(), place, "it has one owner");
}
