//! Small text files, read so that what is wrong in them has a position.

use std::path::Path;

use super::Examiner;
use super::finding::{Effect, Finding, Problem};
use crate::checkpoint::{CheckpointError, MAX_CHECKPOINT_BYTES, parse};

/// An entry of a checkpoint and where its line starts.
pub(super) struct Entry<T> {
    pub(super) value: T,
    pub(super) position: u64,
}

/// The position of the line with this number.
pub(super) fn line_position(bytes: &[u8], number: usize) -> u64 {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at as u64 + 1);
    if number == 0 { 0 } else { starts.clone().nth(number - 1).unwrap_or(bytes.len() as u64) }
}

/// The position of the first line that `is` one of.
pub(super) fn position_of(bytes: &[u8], is: impl Fn(&str) -> bool) -> Option<u64> {
    let mut position = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        if std::str::from_utf8(line).is_ok_and(|line| is(line.trim_end_matches('\r'))) {
            return Some(position);
        }
        position += line.len() as u64 + 1;
    }
    None
}

/// Reads a checkpoint; none when there is none, or when it is damaged and that has been told.
pub(super) fn checkpoint<T>(
    examiner: &mut Examiner<'_>,
    path: &Path,
    effect: Effect,
    entry: impl Fn(&str) -> Option<T>,
) -> Option<Vec<Entry<T>>> {
    let bytes = match examiner.disk.read(path, MAX_CHECKPOINT_BYTES) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return None,
        Err(error) => {
            examiner.unreadable(path, error, effect);
            return None;
        }
    };
    match parse(&bytes, &entry) {
        Ok(values) => {
            let entries = values.into_iter().enumerate();
            Some(
                entries.map(|(at, value)| Entry { value, position: line_position(&bytes, at + 2) }).collect(),
            )
        }
        Err(error) => {
            let position = match &error {
                CheckpointError::Malformed => match std::str::from_utf8(&bytes) {
                    Err(error) => error.valid_up_to() as u64,
                    Ok(text) => {
                        let first_is_bad =
                            text.lines().next().is_none_or(|v| v.trim().parse::<i32>().is_err());
                        if first_is_bad { 0 } else { line_position(&bytes, 1) }
                    }
                },
                CheckpointError::UnknownVersion { .. } => 0,
                CheckpointError::MalformedLine { line } => {
                    let mut number = 0;
                    let bad = |text: &str| {
                        number += 1;
                        number > 2 && text == line
                    };
                    first_position(&bytes, bad)
                }
                CheckpointError::WrongCount { .. } => line_position(&bytes, 1),
            };
            let problem = Problem::Malformed { reason: error.to_string() };
            examiner.found(Finding::problem(path, problem, effect).at(position));
            None
        }
    }
}

fn first_position(bytes: &[u8], mut is: impl FnMut(&str) -> bool) -> u64 {
    let mut position = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        if is(String::from_utf8_lossy(line).trim_end_matches('\r')) {
            return position;
        }
        position += line.len() as u64 + 1;
    }
    0
}
