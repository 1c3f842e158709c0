//! The same load over more and more partitions.

use std::time::{Duration, Instant};

use ottla_protocol::records::BatchOptions;

use super::{Context, watch};
use crate::load::librdkafka::{Produce, consume_all, produce};
use crate::load::{admin, floor, raw};
use crate::process;
use crate::stats::Figure;
use crate::system::Node;

/// Partitions of a topic.
const SPREAD: i32 = 100;
/// Batches of one record in a request of our own, each for another partition.
const BATCHES: i32 = SPREAD;
const AT_MOST: Duration = Duration::from_secs(30);

pub fn partitions(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    process::raise_open_files();
    let mut figures = Vec::new();
    let mut of_100 = None;
    for partitions in [100usize, 1_000, 5_000, 10_000] {
        match with(ctx, partitions, &mut figures) {
            Err(error) => ctx.note(format!("{partitions} partitions: {error}")),
            Ok(rates) => match of_100 {
                None => of_100 = Some(rates),
                Some(base) => shares(partitions, rates, base, &mut figures),
            },
        }
    }
    Ok(figures)
}

fn shares(partitions: usize, rates: Rates, base: Rates, figures: &mut Vec<Figure>) {
    let of_100 = |what: &str, rate: f64, base: f64| {
        Figure::more(
            format!("{what} with {partitions} partitions of that with 100"),
            "%",
            rate / base * 100.0,
        )
        .goal(80.0)
    };
    figures.push(of_100("produce rate", rates.stock, base.stock));
    figures.push(of_100("rate of one-record batches", rates.bare, base.bare));
}

fn with(ctx: &Context<'_>, partitions: usize, figures: &mut Vec<Figure>) -> Result<Rates, String> {
    let mut node = ctx.start("log.cleaner.dedupe.buffer.size=8388608\n")?;
    let name = format!("{partitions} partitions");
    ctx.say(&name);
    let topics: Vec<String> = (0..partitions / SPREAD as usize).map(|i| format!("t{i}")).collect();
    let began = Instant::now();
    if let Err(error) = admin::create_topics(&node.bootstrap(), &topics, SPREAD, &[]) {
        // Why the process ended tells more than a connection that is gone; it takes a moment to end.
        std::thread::sleep(Duration::from_secs(2));
        node.check_alive()?;
        return Err(error);
    }
    let created = began.elapsed().as_secs_f64() * 1e3;
    figures.push(Figure::less(format!("creating {name}, until all are served"), "ms", created));
    figures.push(Figure::less(format!("RSS with {name}, empty"), "MB", node.rss_mb()));
    figures.push(Figure::less(format!("open files with {name}, empty"), "", node.open_files()));
    let rates = load(ctx, &node, &topics, &name, figures)?;
    figures.push(Figure::less(format!("RSS with {name} after the load"), "MB", node.rss_mb()));
    Ok(rates)
}

#[derive(Clone, Copy)]
struct Rates {
    /// librdkafka, MB/s.
    stock: f64,
    /// Requests of our own, batches/s.
    bare: f64,
}

fn load(
    ctx: &Context<'_>,
    node: &Node,
    topics: &[String],
    name: &str,
    figures: &mut Vec<Figure>,
) -> Result<Rates, String> {
    let bootstrap = node.bootstrap();
    let stock = |records: u64| {
        produce(&Produce {
            bootstrap: &bootstrap,
            topics,
            partitions: SPREAD,
            spread: true,
            keys: 0,
            records,
            record_bytes: 1024,
            settings: &[("acks", "1"), ("linger.ms", "5")],
            at_most: AT_MOST,
        })
    };
    stock(ctx.amount(300_000))?;
    let (done, spent) = watch(node, || stock(ctx.amount(1_000_000)))?;
    let rate_of_stock = done.mb_per_s();
    figures.push(Figure::more(format!("produce rate with {name}"), "MB/s", rate_of_stock));
    let cpu = spent.broker.cpu_s() / done.gb();
    figures.push(Figure::less(format!("CPU per GB produced with {name}"), "s", cpu));
    let generator = format!("load generator's CPU, producing with {name}");
    figures.push(Figure::beside(generator, "% of a core", spent.generator));

    let (read, spent) = watch(node, || consume_all(&bootstrap, topics, SPREAD, AT_MOST))?;
    let cpu = spent.broker.cpu_s() / read.gb();
    figures.push(Figure::less(format!("CPU per GB consumed from {name}"), "s", cpu));
    figures.push(Figure::more(format!("consume rate from {name}"), "MB/s", read.mb_per_s()));

    // librdkafka itself slows down with many partitions; these requests are the same whatever the number of partitions.
    let value = &crate::load::payloads(1024, 1)[0];
    let record = raw::batch(BatchOptions::default(), raw::now_ms(), value, 1)?;
    let frames: Result<Vec<_>, String> = topics
        .iter()
        .map(|topic| raw::frame_of(&[(topic.as_str(), (0..BATCHES).collect())], &record, 1))
        .collect();
    let frames = raw::with_shared_end(frames?);
    let bare = |requests: u64| -> Result<raw::Answered, String> {
        let mut connections = Vec::new();
        for c in 0..4 {
            // Every connection goes through all topics, each from another one on.
            let mut frames = frames.clone();
            frames.rotate_left(c * topics.len() / 4);
            connections.push((raw::connect(node.port, None)?, frames));
        }
        raw::pipeline(connections, 2, requests, AT_MOST, &raw::check_produced)
    };
    let requests = ctx.amount(10_000);
    bare(requests / 4)?;
    let (done, spent) = watch(node, || bare(requests))?;
    let batches = done.requests * BATCHES as u64;
    let rate = batches as f64 / done.elapsed.as_secs_f64();
    figures.push(Figure::more(format!("one-record batches with {name}"), "1/s", rate));
    figures.push(Figure::less(format!("CPU per one-record batch with {name}"), "us", spent.us_per(batches)));
    let files = topics.len() * SPREAD as usize;
    let append = floor::appended(&ctx.base, files, record.len(), batches as usize)?;
    figures.push(Figure::beside(
        format!("a loop that appends such batches to {files} files: CPU per batch"),
        "us",
        append,
    ));
    Ok(Rates { stock: rate_of_stock, bare: rate })
}
