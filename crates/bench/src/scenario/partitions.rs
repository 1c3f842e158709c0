//! The same load over more and more partitions.

use std::time::{Duration, Instant};

use super::Context;
use crate::load::admin;
use crate::load::librdkafka::{Produce, produce};
use crate::stats::Figure;

pub fn partitions(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    let mut of_100 = None;
    for partitions in [100u64, 1_000, 5_000, 10_000] {
        let node = ctx.start("log.cleaner.dedupe.buffer.size=8388608\n")?;
        let topics: Vec<String> = (0..partitions / 100).map(|i| format!("t{i}")).collect();
        let began = Instant::now();
        admin::create_topics(&node.bootstrap(), &topics, 100, &[])?;
        let created = began.elapsed().as_secs_f64() * 1e3;
        let bootstrap = node.bootstrap();
        let load = |records: u64| Produce {
            bootstrap: &bootstrap,
            topics: &topics,
            partitions: 100,
            spread: true,
            records,
            record_bytes: 1024,
            settings: &[("acks", "1"), ("linger.ms", "5"), ("sticky.partitioning.linger.ms", "0")],
            at_most: Duration::from_secs(60),
        };
        produce(&load(ctx.amount(300_000)))?;
        let before = node.usage();
        let done = produce(&load(ctx.amount(1_000_000)))?;
        let used = node.usage().since(&before);
        let name = format!("{partitions} partitions");
        figures.push(Figure::less(format!("creating {name}"), "ms", created));
        figures.push(Figure::more(format!("produce rate with {name}"), "MB/s", done.mb_per_s()));
        figures.push(Figure::less(format!("CPU per GB produced with {name}"), "s", used.cpu_s() / done.gb()));
        figures.push(Figure::less(format!("RSS with {name} after the load"), "MB", node.rss_mb()));
        match of_100 {
            None => of_100 = Some(done.mb_per_s()),
            Some(base) => figures.push(Figure::more(
                format!("produce rate with {name} of that with 100"),
                "%",
                done.mb_per_s() / base * 100.0,
            )),
        }
    }
    Ok(figures)
}
