//! Gigabytes in and out.

use std::time::Duration;

use super::{Context, watch};
use crate::load::admin;
use crate::load::floor::received_and_written;
use crate::load::librdkafka::{Produce, Produced, consume, produce};
use crate::machine;
use crate::process;
use crate::stats::Figure;
use crate::system::Node;

const KIB: usize = 1024;
const PARTITIONS: i32 = 4;
const MIB: usize = 1024 * KIB;
/// What a load may take; a peer that is slow has its figures of what it did by then.
const AT_MOST: Duration = Duration::from_secs(60);

fn topic(node: &Node, name: &str) -> Result<Vec<String>, String> {
    let topics = vec![name.to_owned()];
    admin::create_topics(&node.bootstrap(), &topics, PARTITIONS, &[])?;
    Ok(topics)
}

fn send(
    node: &Node,
    topics: &[String],
    bytes: u64,
    record_bytes: usize,
    settings: &[(&str, &str)],
) -> Result<Produced, String> {
    produce(&Produce {
        bootstrap: &node.bootstrap(),
        topics,
        partitions: PARTITIONS,
        spread: false,
        keys: 0,
        records: (bytes / record_bytes as u64).max(1),
        record_bytes,
        settings,
        at_most: AT_MOST,
    })
}

pub fn produce_and_consume(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    // Retention is there for the disk's sake, and is never reached by what one turn writes.
    let node = ctx.start("log.retention.bytes=4294967296\nlog.segment.bytes=268435456\n")?;
    let mut figures = Vec::new();
    let plain: &[(&str, &str)] = &[("acks", "1"), ("linger.ms", "5")];
    let (warm_up, measured) = (ctx.amount(2_000_000_000), ctx.amount(2_000_000_000));
    let topics = topic(&node, "plain")?;
    ctx.say("warming up");
    let warm = send(&node, &topics, warm_up, KIB, plain)?;
    machine::warm_page_cache(&ctx.base, measured * 2);
    let floor = received_and_written(&ctx.base, measured, MIB)?;
    ctx.say("producing");
    let (done, spent) = watch(&node, || send(&node, &topics, measured, KIB, plain))?;
    let records = (warm.bytes + done.bytes) / KIB as u64;
    let (gb, used) = (done.gb(), spent.broker);
    figures.push(
        Figure::less("CPU per GB produced (1 KiB, acks=1, linger 5 ms)", "s", used.cpu_s() / gb)
            .aim(1.0 / 6.0),
    );
    figures.push(Figure::less("of it in user mode, producing", "s", used.user_s / gb));
    figures.push(Figure::beside(
        "a loop that receives as much and writes it to a file: CPU per GB",
        "s",
        floor,
    ));
    figures.push(Figure::more("produce rate (1 KiB)", "MB/s", done.mb_per_s()));
    figures.push(Figure::beside("load generator's CPU, producing", "% of a core", spent.generator));
    figures.push(Figure::less("bytes to disk per byte produced", "", used.written_bytes as f64 / gb / 1e9));
    figures.push(Figure::less("context switches per MB produced", "", used.switches as f64 / gb / 1e3));
    // In a pass of its own: whoever counts slows what is counted.
    let pass = || send(&node, &topics, measured / 10, KIB, plain);
    if let Some((calls, done)) = process::system_calls(node.pid(), pass)? {
        let per = calls as f64 / done.gb() / 1e3;
        figures.push(Figure::less("system calls per MB produced", "", per));
    }

    ctx.say("consuming");
    let read = || consume(&node.bootstrap(), "plain", PARTITIONS, records.saturating_sub(16), &[], AT_MOST);
    let (done, spent) = watch(&node, read)?;
    let (gb, used) = (done.gb(), spent.broker);
    figures.push(Figure::less("CPU per GB consumed (1 KiB)", "s", used.cpu_s() / gb).aim(1.0 / 3.0));
    figures.push(Figure::less("of it in user mode, consuming", "s", used.user_s / gb));
    figures.push(Figure::more("consume rate (1 KiB)", "MB/s", done.mb_per_s()));
    figures.push(Figure::beside("load generator's CPU, consuming", "% of a core", spent.generator));
    figures.push(Figure::less("context switches per MB consumed", "", used.switches as f64 / gb / 1e3));
    if let Some((calls, done)) = process::system_calls(node.pid(), read)? {
        let per = calls as f64 / done.gb() / 1e3;
        figures.push(Figure::less("system calls per MB consumed", "", per));
    }

    ctx.say("producing lz4");
    let lz4: &[(&str, &str)] = &[("acks", "1"), ("linger.ms", "5"), ("compression.type", "lz4")];
    let topics = topic(&node, "lz4")?;
    send(&node, &topics, warm_up / 2, KIB, lz4)?;
    machine::warm_page_cache(&ctx.base, measured * 2);
    let before = node.usage();
    let done = send(&node, &topics, measured / 2, KIB, lz4)?;
    let used = node.usage().since(&before);
    figures.push(
        Figure::less(
            "CPU per GB produced in lz4 batches (before compression)",
            "s",
            used.cpu_s() / done.gb(),
        )
        .aim(0.25),
    );
    figures.push(Figure::less("of it in user mode, lz4", "s", used.user_s / done.gb()));
    figures.push(Figure::less("RSS after the load", "MB", node.rss_mb()).goal(80.0));
    figures.push(Figure::less("peak RSS, file pages included", "MB", node.peak_mb()));
    Ok(figures)
}

pub fn sizes_and_codecs(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx
        .start("log.retention.bytes=1073741824\nlog.segment.bytes=268435456\nmessage.max.bytes=2097152\n")?;
    let mut figures = Vec::new();
    let total = ctx.amount(500_000_000);
    let cases: [(&str, usize, &[(&str, &str)]); 8] = [
        ("100 B, acks=1", 100, &[("acks", "1")]),
        ("10 KiB, acks=1", 10 * KIB, &[("acks", "1")]),
        ("1 MiB, acks=1", MIB, &[("acks", "1"), ("message.max.bytes", "2000000")]),
        ("1 KiB, acks=0", KIB, &[("acks", "0")]),
        ("1 KiB, acks=all, idempotent", KIB, &[("acks", "all"), ("enable.idempotence", "true")]),
        ("1 KiB, gzip", KIB, &[("compression.type", "gzip")]),
        ("1 KiB, snappy", KIB, &[("compression.type", "snappy")]),
        ("1 KiB, zstd", KIB, &[("compression.type", "zstd")]),
    ];
    for (i, (name, size, settings)) in cases.into_iter().enumerate() {
        let topics = topic(&node, &format!("case{i}"))?;
        let mut all = vec![("linger.ms", "5")];
        all.extend_from_slice(settings);
        ctx.say(name);
        send(&node, &topics, total / 2, size, &all)?;
        machine::warm_page_cache(&ctx.base, total * 2);
        let before = node.usage();
        let done = send(&node, &topics, total, size, &all)?;
        let used = node.usage().since(&before);
        figures.push(Figure::less(format!("CPU per GB produced: {name}"), "s", used.cpu_s() / done.gb()));
        figures.push(Figure::less(format!("of it in user mode: {name}"), "s", used.user_s / done.gb()));
        figures.push(Figure::more(format!("produce rate: {name}"), "MB/s", done.mb_per_s()));
    }
    Ok(figures)
}

pub fn many_consumers(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("")?;
    let mut figures = Vec::new();
    let total = ctx.amount(500_000_000);
    let topics = topic(&node, "fan")?;
    send(&node, &topics, total, KIB, &[("acks", "1"), ("linger.ms", "5")])?;
    let records = total / KIB as u64;
    let bootstrap = node.bootstrap();
    let read = |settings: &'static [(&'static str, &'static str)]| {
        consume(&bootstrap, "fan", PARTITIONS, records, settings, AT_MOST)
    };
    read(&[])?;
    let before = node.usage();
    let done = read(&[])?;
    let used = node.usage().since(&before).cpu_s() / done.gb();
    figures.push(Figure::less("CPU per GB consumed by one consumer", "s", used));
    let before = node.usage();
    let done = read(&[("isolation.level", "read_committed")])?;
    let used = node.usage().since(&before).cpu_s() / done.gb();
    figures.push(Figure::less("CPU per GB consumed, read_committed", "s", used));
    let before = node.usage();
    ctx.say("20 consumers");
    let bytes = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..20).map(|_| scope.spawn(|| read(&[("queued.max.messages.kbytes", "16384")]))).collect();
        readers.into_iter().try_fold(0, |sum, r| match r.join() {
            Ok(Ok(done)) => Ok(sum + done.bytes),
            Ok(Err(e)) => Err(e),
            Err(_) => Err("a reader panicked".to_owned()),
        })
    })?;
    let used = node.usage().since(&before).cpu_s() / (bytes as f64 / 1e9);
    figures.push(Figure::less("CPU per GB consumed by 20 consumers at a time", "s", used));
    ctx.say("cold");
    // Needs the right to drop caches; without it the figures are left out rather than wrong.
    let dropped = machine::drop_page_cache();
    if dropped {
        let before = node.usage();
        let done = read(&[])?;
        let used = node.usage().since(&before).cpu_s() / done.gb();
        figures.push(Figure::less("CPU per GB consumed, cold", "s", used));
        figures.push(Figure::more("consume rate, cold", "MB/s", done.mb_per_s()));
    }
    Ok(figures)
}
