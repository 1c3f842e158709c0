//! Acknowledged only when durable: `flush.messages=1`.

use std::time::Duration;

use super::{Context, watch};
use crate::load::admin;
use crate::load::raw::{SmallRequests, small_requests};
use crate::stats::Figure;

/// Connections and requests in flight on each, and the aim in multiples of the first.
const CASES: [(usize, usize, f64); 3] = [(1, 1, 1.0), (1, 5, 4.0), (64, 1, 10.0)];
/// The cases take turns: what a sync costs drifts, and would tell against whichever case had the worse seconds.
const TURNS: u64 = 5;

#[derive(Default, Clone, Copy)]
struct Total {
    requests: u64,
    elapsed_s: f64,
    cpu_s: f64,
}

pub fn fsync(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("max.connections.per.ip=100000\n")?;
    admin::create_topics(&node.bootstrap(), &["durable".to_owned()], 1, &[("flush.messages", "1")])?;
    let load = |record_bytes, connections, in_flight, at_most| SmallRequests {
        port: node.port,
        topic: "durable",
        partitions: 1,
        connections,
        in_flight,
        requests: u64::MAX,
        at_most,
        record_bytes,
        acks: -1,
    };
    ctx.say("warming up");
    small_requests(&load(1024, 1, 5, ctx.lasting(6)))?;
    let turn = Duration::from_millis(ctx.either(2_000, 800));
    let mut figures = Vec::new();
    for (record_bytes, size) in [(1024, ""), (100, " of 100 B")] {
        let mut totals = [Total::default(); CASES.len()];
        for at in 0..TURNS {
            ctx.say(&format!("{record_bytes} B, turn {} of {TURNS}", at + 1));
            for ((connections, in_flight, _), total) in CASES.into_iter().zip(&mut totals) {
                let load = load(record_bytes, connections, in_flight, turn);
                let (done, spent) = watch(&node, || small_requests(&load))?;
                total.requests += done.requests;
                total.elapsed_s += done.elapsed.as_secs_f64();
                total.cpu_s += spent.broker.cpu_s();
            }
        }
        let per_s = |total: &Total| total.requests as f64 / total.elapsed_s;
        for ((connections, in_flight, aim), total) in CASES.into_iter().zip(&totals) {
            let name = format!("{connections} connections, {in_flight} in flight");
            figures.push(Figure::more(format!("durable requests{size}: {name}"), "1/s", per_s(total)));
            figures.push(Figure::less(
                format!("CPU per durable request{size}: {name}"),
                "us",
                total.cpu_s * 1e6 / total.requests.max(1) as f64,
            ));
            if aim > 1.0 {
                let name = format!("durable requests{size}: {name}, times that of one");
                figures.push(Figure::more(name, "x", per_s(total) / per_s(&totals[0])).goal(aim));
            }
        }
    }
    Ok(figures)
}
