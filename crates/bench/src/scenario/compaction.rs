//! How fast the cleaner is.

use std::time::{Duration, Instant};

use super::{Context, watch};
use crate::load::librdkafka::{Produce, produce};
use crate::load::{admin, rpc};
use crate::stats::Figure;

const TOPIC: &str = "keyed";
const RECORD_BYTES: usize = 1024;
const KEYS: u64 = 100_000;
const SEGMENT_BYTES: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(240);

pub fn compaction(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    // The cleaner looks for work ten times a second instead of once in 15 s, so that waiting is no part of the figure.
    let node = ctx.start("log.cleaner.backoff.ms=100\nlog.cleaner.threads=1\n")?;
    let segment = SEGMENT_BYTES.to_string();
    // Above a ratio of 1 there is nothing: nothing is cleaned during the load.
    let settings =
        [("cleanup.policy", "compact"), ("segment.bytes", &segment), ("min.cleanable.dirty.ratio", "1.0")];
    let bytes = ctx.either(2_000_000_000, 400_000_000);
    let mut figures = Vec::new();
    // The first topic warms up, the second is measured.
    for (topic, bytes, counts) in [("warm", bytes / 4, false), (TOPIC, bytes, true)] {
        admin::create_topics(&node.bootstrap(), &[topic.to_owned()], 1, &settings)?;
        ctx.say(&format!("loading {} MB into {topic}", bytes / 1_000_000));
        produce(&Produce {
            bootstrap: &node.bootstrap(),
            topics: &[topic.to_owned()],
            partitions: 1,
            spread: false,
            keys: KEYS,
            records: bytes / RECORD_BYTES as u64,
            record_bytes: RECORD_BYTES,
            settings: &[("acks", "all"), ("linger.ms", "5")],
            at_most: Duration::from_secs(120),
        })?;
        let dir = node.data().join(format!("{topic}-0"));
        let before = segments(&dir);
        let Some(active) = before.last().map(|(base, _)| *base) else {
            return Err(format!("no segments in {}", dir.display()));
        };
        let dirty: u64 = before.iter().filter(|(base, _)| *base < active).map(|(_, len)| len).sum();
        ctx.say(&format!("cleaning {} segments, {} MB", before.len() - 1, dirty / 1_000_000));
        let checkpoint = node.data().join("cleaner-offset-checkpoint");
        let ((), spent) = watch(&node, || {
            rpc::alter_topic(node.port, topic, &[("min.cleanable.dirty.ratio", "0.01")])?;
            let began = Instant::now();
            while cleaned_to(&checkpoint, topic) < Some(active) {
                if began.elapsed() > PATIENCE {
                    return Err(format!("{topic} is not cleaned within {PATIENCE:?}"));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })?;
        if !counts {
            continue;
        }
        let left: u64 = segments(&dir).iter().filter(|(base, _)| *base < active).map(|(_, len)| len).sum();
        let mb = dirty as f64 / 1e6;
        figures.push(Figure::more("compaction", "MB/s", mb / spent.elapsed.as_secs_f64()));
        figures.push(Figure::less("CPU per GB compacted", "s", spent.broker.cpu_s() / mb * 1e3));
        figures.push(Figure::less(
            "bytes to disk per byte compacted",
            "",
            spent.broker.written_bytes as f64 / 1e6 / mb,
        ));
        figures.push(Figure::less("what is left", "% of the bytes", left as f64 / dirty as f64 * 100.0));
        figures.push(Figure::less("peak RSS, file pages included", "MB", node.peak_mb()));
    }
    Ok(figures)
}

/// Base offsets and sizes of a partition's segments, in order.
fn segments(dir: &std::path::Path) -> Vec<(i64, u64)> {
    let mut all: Vec<(i64, u64)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_suffix(".log")?.parse().ok()?, entry.metadata().ok()?.len()))
        })
        .collect();
    all.sort_unstable();
    all
}

/// The first dirty offset in a checkpoint file: `topic partition offset` in a line.
fn cleaned_to(checkpoint: &std::path::Path, topic: &str) -> Option<i64> {
    let text = std::fs::read_to_string(checkpoint).ok()?;
    text.lines().find_map(|l| l.strip_prefix(topic)?.strip_prefix(" 0 ")?.parse().ok())
}
