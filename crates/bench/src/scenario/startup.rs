//! How long a node takes to be there, and what it costs to have it there.

use std::time::{Duration, Instant};

use super::{Context, watch};
use crate::load::rpc::{Rpc, served};
use crate::load::{admin, raw};
use crate::stats::Figure;
use crate::system::{Node, STOP_PATIENCE};

pub fn startup(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let mut node = ctx.start("")?;
    let mut figures = vec![
        Figure::less("start to first answer", "ms", node.startup.as_secs_f64() * 1e3).aim(0.02).goal(50.0),
    ];
    // Kafka's start goes on in the background for a while.
    std::thread::sleep(ctx.lasting(10));
    let before = node.usage();
    let watched = ctx.lasting(20);
    std::thread::sleep(watched);
    let idle = node.usage().since(&before).cpu_s() / watched.as_secs_f64() * 100.0;
    figures.push(Figure::less("idle CPU", "% of a core", idle).goal(0.3));
    figures.push(Figure::less("RSS idle", "MB", node.rss_mb()).goal(25.0));
    // Nisshi's memory engine forgets, which is as good a start as any.
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

/// Partitions of a topic.
pub const SPREAD: i32 = 100;
const SERVED_PATIENCE: Duration = Duration::from_secs(600);

/// Until every partition tells its end.
pub fn until_served(ctx: &Context<'_>, node: &mut Node, topics: &[String]) -> Result<Duration, String> {
    let began = Instant::now();
    let all = topics.len() * SPREAD as usize;
    let mut said = began;
    while began.elapsed() < SERVED_PATIENCE {
        node.check_alive()?;
        let port = node.port;
        let ready = Rpc::connect(port).and_then(|mut rpc| served(&mut rpc, topics, SPREAD)).unwrap_or(0);
        if ready == all {
            return Ok(began.elapsed());
        }
        if said.elapsed() > Duration::from_secs(10) {
            ctx.say(&format!("{ready} of {all} partitions are served"));
            said = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("not every partition is served within {SERVED_PATIENCE:?}"))
}

/// A batch of 10 KiB to each partition, so many times.
fn fill(port: u16, topics: &[String], times: usize) -> Result<(), String> {
    let mut frames = Vec::new();
    for topic in topics {
        frames.push(raw::produce_frame(&[(topic.as_str(), (0..SPREAD).collect())], 10 * 1024 - 70, 1)?);
    }
    let requests = (topics.len() * times) as u64;
    let connections = vec![(raw::connect(port, None)?, frames)];
    raw::pipeline(connections, 4, requests, Duration::from_secs(300), &raw::check_produced)?;
    Ok(())
}

pub fn with_partitions(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for partitions in [1_000, 10_000] {
        if let Err(error) = starts(ctx, partitions, &mut figures) {
            ctx.note(format!("{partitions} partitions: {error}"));
        }
    }
    Ok(figures)
}

fn starts(ctx: &Context<'_>, partitions: i32, figures: &mut Vec<Figure>) -> Result<(), String> {
    let mut node = ctx.start("log.cleaner.dedupe.buffer.size=8388608\n")?;
    let topics: Vec<String> = (0..partitions / SPREAD).map(|i| format!("t{i}")).collect();
    ctx.say(&format!("creating {partitions} partitions"));
    let began = Instant::now();
    if let Err(error) = admin::create_topics(&node.bootstrap(), &topics, SPREAD, &[]) {
        // Why the process ended tells more than a connection that is gone; it takes a moment to end.
        std::thread::sleep(Duration::from_secs(2));
        node.check_alive()?;
        return Err(error);
    }
    figures.push(Figure::less(
        format!("creating {partitions} partitions, until all are served"),
        "ms",
        began.elapsed().as_secs_f64() * 1e3,
    ));
    figures.push(Figure::less(format!("RSS with {partitions} empty partitions"), "MB", node.rss_mb()));
    let open = node.open_files();
    figures.push(Figure::less(format!("open files with {partitions} empty partitions"), "", open));
    let ((), spent) = watch(&node, || {
        std::thread::sleep(ctx.lasting(10));
        Ok(())
    })?;
    let idle = spent.broker.cpu_s() / spent.elapsed.as_secs_f64() * 100.0;
    figures.push(Figure::less(format!("idle CPU with {partitions} partitions"), "% of a core", idle));
    ctx.say("writing to each of them");
    fill(node.port, &topics, ctx.amount(10) as usize)?;
    for (how, killed) in [("a clean stop", false), ("kill -9", true)] {
        ctx.say(&format!("a start after {how}"));
        if killed {
            // The start before was a clean one: without new records nothing would be left to recover.
            fill(node.port, &topics, 1)?;
            node.kill()
        } else {
            let began = Instant::now();
            node.stop();
            figures.push(Figure::less(
                format!("clean stop with {partitions} partitions"),
                "ms",
                began.elapsed().as_secs_f64() * 1e3,
            ));
            if began.elapsed() >= STOP_PATIENCE {
                ctx.note(format!(
                    "{partitions} partitions: no clean stop within {STOP_PATIENCE:?}, then killed"
                ));
            }
        }
        node.restart()?;
        let served = node.startup + until_served(ctx, &mut node, &topics)?;
        figures.push(Figure::less(
            format!("serving {partitions} partitions again after {how}"),
            "ms",
            served.as_secs_f64() * 1e3,
        ));
    }
    Ok(())
}
