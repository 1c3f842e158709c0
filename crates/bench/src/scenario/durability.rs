//! Acknowledged only when durable: `flush.messages=1`.

use std::time::Duration;

use super::{Context, watch};
use crate::load::admin;
use crate::load::raw::{SmallRequests, small_requests};
use crate::stats::Figure;

pub fn fsync(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("max.connections.per.ip=100000\n")?;
    admin::create_topics(&node.bootstrap(), &["durable".to_owned()], 1, &[("flush.messages", "1")])?;
    let load = |connections, in_flight| SmallRequests {
        port: node.port,
        topic: "durable",
        partitions: 1,
        connections,
        in_flight,
        requests: u64::MAX,
        at_most: Duration::from_secs(ctx.either(10, 4)),
        record_bytes: 1024,
        acks: -1,
    };
    ctx.say("warming up");
    small_requests(&SmallRequests { at_most: ctx.lasting(6), ..load(1, 5) })?;
    let mut figures = Vec::new();
    let mut base = None;
    for (connections, in_flight) in [(1, 1), (1, 5), (64, 1)] {
        let name = format!("{connections} connections, {in_flight} in flight");
        ctx.say(&name);
        let (done, spent) = watch(&node, || small_requests(&load(connections, in_flight)))?;
        figures.push(Figure::more(format!("durable requests: {name}"), "1/s", done.per_s()));
        figures.push(Figure::less(
            format!("CPU per durable request: {name}"),
            "us",
            spent.us_per(done.requests),
        ));
        match base {
            None => base = Some(done.per_s()),
            Some(one) => {
                let name = format!("durable requests: {name}, times that of one");
                let figure = Figure::more(name, "x", done.per_s() / one);
                figures.push(if connections == 1 { figure.goal(4.0) } else { figure.goal(10.0) });
            }
        }
    }
    Ok(figures)
}
