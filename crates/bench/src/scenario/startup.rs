//! How long a node takes to be there, and what it costs to have it there.

use std::time::{Duration, Instant};

use super::Context;
use crate::load::admin;
use crate::load::raw;
use crate::stats::Figure;

pub fn startup(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let mut node = ctx.start("")?;
    let mut figures =
        vec![Figure::less("start to first answer", "ms", node.startup.as_secs_f64() * 1e3).aim(0.02)];
    // Kafka's start goes on in the background for a while.
    std::thread::sleep(ctx.lasting(10));
    let before = node.usage();
    let watched = ctx.lasting(20);
    std::thread::sleep(watched);
    let idle = node.usage().since(&before).cpu_s() / watched.as_secs_f64() * 100.0;
    figures.push(Figure::less("idle CPU", "% of a core", idle));
    figures.push(Figure::less("RSS idle", "MB", node.rss_mb()));
    node.stop();
    node.restart()?;
    figures.push(Figure::less(
        "start to first answer after a clean stop",
        "ms",
        node.startup.as_secs_f64() * 1e3,
    ));
    node.kill();
    node.restart()?;
    figures.push(Figure::less("start to first answer after kill -9", "ms", node.startup.as_secs_f64() * 1e3));
    Ok(figures)
}

/// Until the last of the partitions is served again.
fn until_served(port: u16, topics: &[String]) -> Result<Duration, String> {
    let began = Instant::now();
    let last = topics.last().map_or("", String::as_str);
    while began.elapsed() < Duration::from_secs(300) {
        let tried = raw::small_requests(&raw::SmallRequests {
            port,
            topic: last,
            partitions: 1,
            connections: 1,
            in_flight: 1,
            requests: 1,
            record_bytes: 10,
            acks: 1,
        });
        if tried.is_ok() {
            return Ok(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("the last partition is not served within 300 s".to_owned())
}

pub fn with_partitions(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for partitions in [1_000, 10_000] {
        let mut node = ctx.start("log.cleaner.dedupe.buffer.size=8388608\n")?;
        let topics: Vec<String> = (0..partitions / 100).map(|i| format!("t{i}")).collect();
        let began = Instant::now();
        admin::create_topics(&node.bootstrap(), &topics, 100, &[])?;
        figures.push(Figure::less(
            format!("creating {partitions} partitions"),
            "ms",
            began.elapsed().as_secs_f64() * 1e3,
        ));
        until_served(node.port, &topics)?;
        figures.push(Figure::less(format!("RSS with {partitions} partitions"), "MB", node.rss_mb()));
        let before = node.usage();
        std::thread::sleep(Duration::from_secs(10));
        let idle = node.usage().since(&before).cpu_s() * 10.0;
        figures.push(Figure::less(format!("idle CPU with {partitions} partitions"), "% of a core", idle));
        for (how, killed) in [("a clean stop", false), ("kill -9", true)] {
            if killed {
                node.kill()
            } else {
                node.stop()
            }
            node.restart()?;
            let served = node.startup + until_served(node.port, &topics)?;
            figures.push(Figure::less(
                format!("serving {partitions} partitions again after {how}"),
                "ms",
                served.as_secs_f64() * 1e3,
            ));
        }
    }
    Ok(figures)
}
