//! Whether someone who reads old data is felt by those who are at the end of the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Context, watch};
use crate::load::librdkafka::{Produce, produce};
use crate::load::open_loop::{Latencies, end_to_end};
use crate::load::{admin, fetch};
use crate::machine;
use crate::stats::Figure;

const RECORD_BYTES: usize = 1024;
const COLD_PARTITIONS: i32 = 4;
/// 10 MB/s of records.
const HOT_RATE: u64 = 10_000;
/// Of the cold reader: both systems are to do the same work, and the disk is to be no one's limit.
const COLD_MB_PER_S: f64 = 100.0;
const SETTINGS: &[(&str, &str)] = &[("acks", "all"), ("linger.ms", "1")];

pub fn hot_cold(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("log.segment.bytes=268435456\n")?;
    let bootstrap = node.bootstrap();
    let cold_bytes = ctx.either(10_000_000_000, 2_000_000_000);
    admin::create_topics(&bootstrap, &["cold".to_owned()], COLD_PARTITIONS, &[])?;
    ctx.say(&format!("writing {} MB of what will be old", cold_bytes / 1_000_000));
    produce(&Produce {
        bootstrap: &bootstrap,
        topics: &["cold".to_owned()],
        partitions: COLD_PARTITIONS,
        spread: false,
        keys: 0,
        records: cold_bytes / RECORD_BYTES as u64,
        record_bytes: RECORD_BYTES,
        settings: &[("acks", "1"), ("linger.ms", "5")],
        at_most: Duration::from_secs(300),
    })?;
    let hot = |name: &str| -> Result<Latencies, String> {
        admin::create_topics(&bootstrap, &[name.to_owned()], 1, &[])?;
        end_to_end(&bootstrap, name, HOT_RATE, RECORD_BYTES, ctx.lasting(45), SETTINGS)
    };
    ctx.say("the hot pair, warming up");
    machine::drop_page_cache();
    hot("hot-warm")?;
    ctx.say("the hot pair alone");
    let alone = hot("hot-alone")?;

    // Of the files alone, so that it works without root and takes nothing from anyone else.
    for partition in 0..COLD_PARTITIONS {
        machine::evict(&node.data().join(format!("cold-{partition}")));
    }
    ctx.say("the hot pair beside a cold reader");
    let stop = AtomicBool::new(false);
    let ((beside, read), spent) = watch(&node, || {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let stopped = || stop.load(Ordering::Relaxed);
                fetch::read_all(node.port, "cold", COLD_PARTITIONS, COLD_MB_PER_S, &stopped)
            });
            let beside = hot("hot-beside");
            stop.store(true, Ordering::Relaxed);
            let read = reader.join().map_err(|_| "the cold reader panicked".to_owned())??;
            Ok((beside?, read))
        })
    })?;
    let ms = |l: &Latencies, quantile: f64| l.value_at_quantile(quantile) as f64 / 1e3;
    let mut figures = Vec::new();
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        figures.push(Figure::less(format!("hot pair alone: {name}"), "ms", ms(&alone, quantile)));
        figures.push(Figure::less(
            format!("hot pair beside a cold reader: {name}"),
            "ms",
            ms(&beside, quantile),
        ));
    }
    let times = ms(&beside, 0.99) / ms(&alone, 0.99);
    figures.push(Figure::less("p99 beside a cold reader, times that alone", "x", times).goal(2.0));
    figures.push(Figure::more("rate of the cold reader", "MB/s", read.mb_per_s()));
    figures.push(Figure::less("broker's CPU beside the cold reader", "% of a core", {
        spent.broker.cpu_s() / spent.elapsed.as_secs_f64() * 100.0
    }));
    figures.push(Figure::beside("load generator's CPU", "% of a core", spent.generator));
    Ok(figures)
}
