//! One partition that very many producers write to: what it costs to know them, to leave out what they aborted, and to find
//! all of it again.

use std::time::{Duration, Instant};

use ottla_protocol::records::BatchOptions;

use super::{Context, watch};
use crate::load::raw::{self, Answered};
use crate::load::rpc::{Isolation, Rpc, alter_topic, last_stable_offset, range};
use crate::load::{admin, committed, payloads, transactional};
use crate::stats::Figure;
use crate::system::Node;

const TOPIC: &str = "ids";
const PLAIN: &str = "plain";
const RECORD_BYTES: usize = 100;
const IN_FLIGHT: usize = 100;
/// Brokers give ids from 0 on; these are far from them.
const FIRST_ID: i64 = 1 << 40;
/// Transactions that are open at a time, between whose records are those of others.
const OPEN: usize = 100;
/// Of 1 KiB, in the one batch of a transaction.
const RECORDS: usize = 2;
const ROUNDS: usize = 5;
/// What a consumer asks of a partition by default.
const FETCH_BYTES: i32 = 1 << 20;
const AT_MOST: Duration = Duration::from_secs(200);

pub fn producer_ids(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let ids = ctx.either(100_000, 1_000);
    let mut node = ctx.start("")?;
    admin::create_topics(&node.bootstrap(), &[TOPIC.to_owned(), PLAIN.to_owned()], 1, &[])?;
    let mut figures = Vec::new();
    idempotent(ctx, &node, ids, &mut figures)?;

    let producers = ctx.either(2_000, 200) as usize;
    let (transactions, open) = transactional(ctx, &node, producers, &mut figures)?;
    let mut log = Log {
        visible: 2 * ids + transactions / 2 * RECORDS as u64,
        stable: last_stable_offset(&mut Rpc::connect(node.port)?, TOPIC, 0)?,
        end: range(&mut Rpc::connect(node.port)?, TOPIC, 0)?.1,
    };
    if log.stable >= log.end {
        return Err(format!("a transaction is open, and yet all up to {} is stable", log.end));
    }
    reads(ctx, &node, &log, &mut figures)?;

    ctx.say("a start after kill -9");
    node.kill();
    let took = log.after_start(&mut node)?;
    figures.push(Figure::less("start after kill -9, until the last stable offset is told", "ms", took));
    // What every producer has sent is known again: a batch that comes twice is written once.
    let again = ids.min(10_000);
    idempotent_batches(&node, again, 1)?;
    log.check(node.port).map_err(|e| format!("after {again} batches were sent again: {e}"))?;
    // The open transaction is ended by who began it.
    let mut rpc = Rpc::connect(node.port)?;
    transactional::end(&mut rpc, &mut { open }, |_| true)?;
    log.end += 1;
    log.stable = log.end;
    // And so is what came behind it.
    log.visible += 2 * RECORDS as u64;
    log.until_stable(&mut rpc)?;
    log.check(node.port)?;

    ctx.say("a start after a clean stop");
    let began = Instant::now();
    node.stop();
    figures.push(Figure::less("clean stop", "ms", began.elapsed().as_secs_f64() * 1e3));
    let took = log.after_start(&mut node)?;
    figures.push(Figure::less("start after a clean stop, until the last stable offset is told", "ms", took));
    figures.push(Figure::less("RSS after that start", "MB", node.rss_mb()));
    Ok(figures)
}

/// A batch of one record of each producer, of its own id and in this place of its sequence.
fn idempotent_batches(node: &Node, ids: u64, sequence: i32) -> Result<Answered, String> {
    let value = &payloads(RECORD_BYTES, 1)[0];
    let now_ms = raw::now_ms();
    let mut frames = Vec::new();
    for id in 0..ids as i64 {
        let options = BatchOptions {
            producer_id: FIRST_ID + id,
            producer_epoch: 0,
            base_sequence: sequence,
            ..Default::default()
        };
        frames.push(raw::frame_of(&[(TOPIC, vec![0])], &raw::batch(options, now_ms, value, 1)?, -1)?);
    }
    let connections = vec![(raw::connect(node.port, Some(TOPIC))?, frames)];
    raw::pipeline(connections, IN_FLIGHT, ids, AT_MOST, &raw::check_produced)
}

fn idempotent(ctx: &Context<'_>, node: &Node, ids: u64, figures: &mut Vec<Figure>) -> Result<(), String> {
    ctx.say("batches without a producer id");
    let plain = || {
        let frame = raw::produce_frame(&[(PLAIN, vec![0])], RECORD_BYTES, -1)?;
        let connections = vec![(raw::connect(node.port, Some(PLAIN))?, vec![frame])];
        raw::pipeline(connections, IN_FLIGHT, ids, AT_MOST, &raw::check_produced)
    };
    plain()?;
    let (done, spent) = watch(node, plain)?;
    let of = "CPU per one-record batch";
    figures.push(Figure::less(format!("{of} without a producer id"), "us", spent.us_per(done.requests)));
    let rss = node.rss_mb();
    for (sequence, who) in [(0, "of a new producer id"), (1, "of a producer id that is known")] {
        ctx.say(&format!("batches, each {who}"));
        let (done, spent) = watch(node, || idempotent_batches(node, ids, sequence))?;
        figures.push(Figure::less(format!("{of} {who}"), "us", spent.us_per(done.requests)));
        figures.push(Figure::more(format!("one-record batches, each {who}"), "1/s", done.per_s()));
        if sequence == 0 {
            let each = (node.rss_mb() - rss) * 1024.0 / ids as f64 * 1e3;
            figures.push(Figure::less("RSS grown for each 1,000 producer ids", "KB", each));
        }
    }
    let (_, end) = range(&mut Rpc::connect(node.port)?, TOPIC, 0)?;
    if end != 2 * ids as i64 {
        return Err(format!("{TOPIC} ends at {end} after {} batches", 2 * ids));
    }
    Ok(())
}

/// Returns how many transactions were ended, and the producer of one that is not.
fn transactional(
    ctx: &Context<'_>,
    node: &Node,
    producers: usize,
    figures: &mut Vec<Figure>,
) -> Result<(u64, Vec<transactional::Producer>), String> {
    alter_topic(node.port, TOPIC, &[("segment.bytes", "1048576")])?;
    let mut rpc = Rpc::connect(node.port)?;
    ctx.say(&format!("{producers} transactional ids"));
    let (mut ready, spent) = watch(node, || transactional::init(&mut rpc, "ids", producers + 1))?;
    figures.push(Figure::less(
        "CPU per InitProducerId with a transactional id",
        "us",
        spent.us_per(producers as u64),
    ));
    let open = ready.split_off(producers);
    let transactions = (producers * ROUNDS) as u64;
    ctx.say(&format!("{transactions} transactions"));
    let value = &payloads(1024, 1)[0];
    let ((), spent) = watch(node, || {
        for _ in 0..ROUNDS {
            for some in ready.chunks_mut(OPEN) {
                transactional::begin(&mut rpc, some, TOPIC, value, RECORDS)?;
                transactional::end(&mut rpc, some, |i| i % 2 == 0)?;
            }
        }
        Ok(())
    })?;
    figures.push(Figure::less(
        format!("CPU per transaction of one batch, {OPEN} open at a time"),
        "us",
        spent.us_per(transactions),
    ));
    let began = Instant::now();
    // The last markers may be on their way.
    loop {
        let (_, end) = range(&mut rpc, TOPIC, 0)?;
        if last_stable_offset(&mut rpc, TOPIC, 0)? == end {
            break;
        }
        if began.elapsed() > AT_MOST {
            return Err(format!("transactions up to {end} have no end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    transactional::begin(&mut rpc, &open, TOPIC, value, RECORDS)?;
    // Behind what is open is what has no transaction.
    let options = BatchOptions::default();
    let records = raw::batch(options, raw::now_ms(), value, RECORDS)?;
    let frame = raw::frame_of(&[(TOPIC, vec![0])], &records, -1)?;
    raw::pipeline(vec![(raw::connect(node.port, None)?, vec![frame])], 1, 1, AT_MOST, &raw::check_produced)?;
    Ok((transactions, open))
}

fn reads(ctx: &Context<'_>, node: &Node, log: &Log, figures: &mut Vec<Figure>) -> Result<(), String> {
    let mut rpc = Rpc::connect(node.port)?;
    let times = ctx.either(10, 3);
    for (isolation, name) in
        [(Isolation::ReadUncommitted, "read_uncommitted"), (Isolation::ReadCommitted, "read_committed")]
    {
        ctx.say(name);
        let mut read = || committed::read(&mut rpc, TOPIC, log.stable, FETCH_BYTES, isolation);
        read()?;
        let (took, spent) = watch(node, || {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let read = read()?;
                if isolation == Isolation::ReadCommitted && read.visible != log.visible {
                    return Err(format!("{} records are visible instead of {}", read.visible, log.visible));
                }
                took += read.elapsed;
            }
            Ok(took)
        })?;
        let each = took.as_secs_f64() * 1e3 / times as f64;
        figures.push(Figure::less(format!("{name} read of the partition"), "ms", each));
        let cpu = spent.broker.cpu_s() * 1e3 / times as f64;
        figures.push(Figure::less(format!("{name} read of the partition: CPU"), "ms", cpu));
    }
    Ok(())
}

/// What the partition must have.
struct Log {
    visible: u64,
    stable: i64,
    end: i64,
}

impl Log {
    /// Starts the node; milliseconds until the partition tells a last stable offset.
    fn after_start(&self, node: &mut Node) -> Result<f64, String> {
        let began = Instant::now();
        node.restart()?;
        let mut last = String::new();
        while began.elapsed() < AT_MOST {
            match Rpc::connect(node.port).and_then(|mut rpc| last_stable_offset(&mut rpc, TOPIC, 0)) {
                Ok(_) => {
                    let took = began.elapsed().as_secs_f64() * 1e3;
                    self.check(node.port)?;
                    return Ok(took);
                }
                Err(error) => last = error,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("no last stable offset within {AT_MOST:?}: {last}"))
    }

    /// The marker of a transaction that has been ended comes a little later.
    fn until_stable(&self, rpc: &mut Rpc) -> Result<(), String> {
        let began = Instant::now();
        while last_stable_offset(rpc, TOPIC, 0)? < self.stable && began.elapsed() < AT_MOST {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn check(&self, port: u16) -> Result<(), String> {
        let mut rpc = Rpc::connect(port)?;
        let (stable, (_, end)) = (last_stable_offset(&mut rpc, TOPIC, 0)?, range(&mut rpc, TOPIC, 0)?);
        if (stable, end) != (self.stable, self.end) {
            return Err(format!(
                "the last stable offset is {stable} and the end {end} instead of {} and {}",
                self.stable, self.end
            ));
        }
        let read = committed::read(&mut rpc, TOPIC, stable, FETCH_BYTES, Isolation::ReadCommitted)?;
        if read.visible != self.visible {
            return Err(format!("{} records are visible instead of {}", read.visible, self.visible));
        }
        Ok(())
    }
}
