//! Starts with much data that is already durable. A disk for 10 TB is not there: the older segment of each partition is as
//! long as it says and nearly all of it a hole.

use std::fs::OpenOptions;
use std::time::{Duration, Instant};

use ottla_protocol::records::BatchOptions;

use super::startup::{SPREAD, until_served};
use super::{Context, watch};
use crate::load::{admin, payloads, raw};
use crate::stats::Figure;
use crate::system::{Node, STOP_PATIENCE};
use crate::{machine, process};

const PARTITIONS: u64 = 10_000;
const SEGMENT_BYTES: u64 = 1_000_000_000;
const FIRST: &str = "00000000000000000000.log";
/// Kafka holds a descriptor for every segment, and jars, sockets and the metadata log besides.
const OTHER_FILES: u64 = 1_000;
const DAY_MS: i64 = 86_400_000;
const BATCH_BYTES: usize = 10 * 1024 - 70;
const AT_MOST: Duration = Duration::from_secs(300);

pub fn sparse(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let wanted = ctx.either(PARTITIONS, 500);
    let limit = process::raise_open_files();
    let fit = limit.map_or(u64::MAX, |l| l.saturating_sub(OTHER_FILES) / 2) / SPREAD as u64 * SPREAD as u64;
    let partitions = wanted.min(fit);
    // Nothing is to be deleted for its age or size.
    let mut node =
        ctx.start("log.cleaner.dedupe.buffer.size=8388608\nlog.retention.ms=-1\nlog.retention.bytes=-1\n")?;
    let topics: Vec<String> = (0..partitions / SPREAD as u64).map(|i| format!("t{i}")).collect();
    let mut figures = vec![Figure::more("partitions", "", partitions as f64)];
    let mut timed = |name: &str, step: &mut dyn FnMut() -> Result<(), String>| {
        ctx.say(name);
        let began = Instant::now();
        step()?;
        figures.push(Figure::less(name, "ms", began.elapsed().as_secs_f64() * 1e3));
        Ok::<(), String>(())
    };
    let bootstrap = node.bootstrap();
    timed("creating them, until all are served", &mut || {
        admin::create_topics(&bootstrap, &topics, SPREAD, &[])
    })?;
    // So old that the next batch begins a segment.
    let old = raw::now_ms() - 8 * DAY_MS;
    timed("a first batch to each", &mut || fill(node.port, &topics, old))?;
    timed("a batch to each that begins a segment", &mut || fill(node.port, &topics, raw::now_ms()))?;
    timed("clean stop", &mut || stop(&mut node))?;
    stretch(&node, &topics)?;
    let size = machine::bytes_below(&node.data()) as f64 / 1e9;
    figures.push(Figure::more("length of their files", "GB", size));
    for (how, killed) in [("a clean stop", false), ("kill -9", true)] {
        ctx.say(&format!("a start after {how}"));
        if killed {
            // Behind the recovery point, which the clean stop has set.
            fill(node.port, &topics, raw::now_ms())?;
            node.kill();
        }
        let began = Instant::now();
        node.restart()?;
        until_served(ctx, &mut node, &topics)?;
        let took = began.elapsed().as_secs_f64();
        figures.push(Figure::less(format!("serving all after {how}"), "ms", took * 1e3));
        let used = node.usage();
        figures.push(Figure::less(format!("CPU until then, after {how}"), "s", used.cpu_s()));
        figures.push(Figure::less(format!("RSS after {how}"), "MB", node.rss_mb()));
        figures.push(Figure::less(format!("open files after {how}"), "", node.open_files()));
    }
    let ((), spent) = watch(&node, || {
        std::thread::sleep(ctx.lasting(10));
        Ok(())
    })?;
    let idle = spent.broker.cpu_s() / spent.elapsed.as_secs_f64() * 100.0;
    figures.push(Figure::less("idle CPU after it", "% of a core", idle));
    Ok(figures)
}

/// A batch of 10 KiB to each partition, of one record of that time.
fn fill(port: u16, topics: &[String], timestamp: i64) -> Result<(), String> {
    let value = &payloads(BATCH_BYTES, 1)[0];
    let records = raw::batch(BatchOptions::default(), timestamp, value, 1)?;
    let mut frames = Vec::new();
    for topic in topics {
        frames.push(raw::frame_of(&[(topic.as_str(), (0..SPREAD).collect())], &records, 1)?);
    }
    let requests = topics.len() as u64;
    raw::pipeline(vec![(raw::connect(port, None)?, frames)], 4, requests, AT_MOST, &raw::check_produced)?;
    Ok(())
}

/// Without a clean stop the recovery point may lie in what becomes a hole.
fn stop(node: &mut Node) -> Result<(), String> {
    node.stop();
    let marker = node.data().join(".kafka_cleanshutdown");
    if marker.exists() { Ok(()) } else { Err(format!("no clean stop within {STOP_PATIENCE:?}, then killed")) }
}

/// Makes the first segment of each partition as long as a full one. No index of it names a place in the hole.
fn stretch(node: &Node, topics: &[String]) -> Result<(), String> {
    for topic in topics {
        for partition in 0..SPREAD {
            let dir = node.data().join(format!("{topic}-{partition}"));
            let second = dir.join(format!("{:020}.log", 1));
            if !second.exists() {
                return Err(format!("{}: the second batch made no segment", dir.display()));
            }
            let path = dir.join(FIRST);
            let file = OpenOptions::new().write(true).open(&path);
            file.and_then(|f| f.set_len(SEGMENT_BYTES)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}
