//! How long a node needs to serve what it had when it was killed.

use std::time::{Duration, Instant};

use super::Context;
use crate::load::admin;
use crate::load::fetch::fetch_once;
use crate::load::librdkafka::{Produce, produce};
use crate::load::rpc::{Rpc, range};
use crate::machine;
use crate::stats::Figure;

const TOPIC: &str = "tail";
const RECORD_BYTES: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(200);

pub fn recovery(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    // One segment: larger than what is written.
    let mut node = ctx.start("log.segment.bytes=2147483647\n")?;
    admin::create_topics(&node.bootstrap(), &[TOPIC.to_owned()], 1, &[])?;
    let bytes = ctx.either(2_000_000_000, 500_000_000);
    let load = |bytes: u64| {
        produce(&Produce {
            bootstrap: &node.bootstrap(),
            topics: &[TOPIC.to_owned()],
            partitions: 1,
            spread: false,
            keys: 0,
            records: bytes / RECORD_BYTES as u64,
            record_bytes: RECORD_BYTES,
            settings: &[("acks", "all"), ("linger.ms", "5")],
            at_most: Duration::from_secs(120),
        })
    };
    ctx.say(&format!("writing {} MB", bytes / 1_000_000));
    load(bytes)?;
    let (_, end) = range(&mut Rpc::connect(node.port)?, TOPIC, 0)?;
    let size = machine::bytes_below(&node.data().join(format!("{TOPIC}-0"))) as f64 / 1e6;
    node.kill();
    ctx.say("starting");
    let began = Instant::now();
    node.restart()?;
    until_fetched(node.port, end)?;
    let warm = began.elapsed().as_secs_f64();
    node.kill();
    let mut figures = vec![
        Figure::less("first fetch after kill -9", "ms", warm * 1e3),
        Figure::more("size of the segment by that time", "MB/s", size / warm),
    ];
    // Again, from the disk: the start before has made nothing durable but the recovery point of an orderly stop, which there
    // was none of.
    if machine::drop_page_cache() {
        ctx.say("starting with an empty page cache");
        let began = Instant::now();
        node.restart()?;
        until_fetched(node.port, end)?;
        let name = "first fetch after another kill -9, empty page cache";
        figures.push(Figure::less(name, "ms", began.elapsed().as_secs_f64() * 1e3));
    }
    Ok(figures)
}

/// Until the last record of the partition comes.
fn until_fetched(port: u16, end: i64) -> Result<(), String> {
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < PATIENCE {
        let tried = Rpc::connect(port).and_then(|mut rpc| fetch_once(&mut rpc, TOPIC, 0, end - 1, 1 << 20));
        match tried {
            Ok((bytes, next)) if bytes > 0 && next >= end => return Ok(()),
            Ok((_, next)) => last = format!("it ends at {next} instead of {end}"),
            Err(error) => last = error,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(format!("no fetch within {PATIENCE:?}: {last}"))
}
