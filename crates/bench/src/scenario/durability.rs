//! Acknowledged only when durable: `flush.messages=1`.

use super::Context;
use crate::load::admin;
use crate::load::raw::{SmallRequests, small_requests};
use crate::stats::Figure;

pub fn fsync(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("max.connections.per.ip=100000\n")?;
    admin::create_topics(&node.bootstrap(), &["durable".to_owned()], 1, &[("flush.messages", "1")])?;
    let mut figures = Vec::new();
    let mut base = None;
    for (connections, in_flight, requests) in [(1, 1, 500), (1, 5, 2_000), (64, 1, 6_400)] {
        let done = small_requests(&SmallRequests {
            port: node.port,
            topic: "durable",
            partitions: 1,
            connections,
            in_flight,
            requests: ctx.amount(requests).max(connections as u64 * in_flight as u64),
            record_bytes: 1024,
            acks: -1,
        })?;
        let name = format!("{connections} connections, {in_flight} in flight");
        figures.push(Figure::more(format!("durable requests: {name}"), "1/s", done.per_s()));
        match base {
            None => base = Some(done.per_s()),
            Some(one) => figures.push(Figure::more(
                format!("durable requests: {name}, times that of one"),
                "x",
                done.per_s() / one,
            )),
        }
    }
    Ok(figures)
}
