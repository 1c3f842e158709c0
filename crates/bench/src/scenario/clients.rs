//! Many small requests, many connections.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Context;
use crate::load::admin;
use crate::load::raw::{self, SmallRequests, small_requests as send};
use crate::stats::Figure;

pub fn small_requests(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("max.connections.per.ip=100000\n")?;
    admin::create_topics(&node.bootstrap(), &["small".to_owned()], 4, &[])?;
    let load = |connections, in_flight, requests| SmallRequests {
        port: node.port,
        topic: "small",
        partitions: 4,
        connections,
        in_flight,
        requests,
        record_bytes: 100,
        acks: 1,
    };
    send(&load(1, 100, ctx.amount(200_000)))?;
    let mut figures = Vec::new();
    let cases = [
        (1, 100, 200_000, Some(0.125)),
        (1, 5, 100_000, None),
        (1, 1, 50_000, None),
        (10, 5, 200_000, None),
        (1_000, 1, 100_000, None),
    ];
    for (connections, in_flight, requests, aim) in cases {
        let before = node.usage();
        let done = send(&load(connections, in_flight, ctx.amount(requests)))?;
        let used = node.usage().since(&before);
        let name = format!("{connections} connections, {in_flight} in flight");
        let per = used.cpu_s() * 1e6 / done.requests as f64;
        let figure = Figure::less(format!("CPU per one-record produce request: {name}"), "us", per);
        figures.push(match aim {
            Some(ratio) => figure.aim(ratio),
            None => figure,
        });
        figures.push(Figure::more(format!("one-record produce requests: {name}"), "1/s", done.per_s()));
    }
    Ok(figures)
}

pub fn connections(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    const IDLE: usize = 10_000;
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it was, and shows as a connection that fails.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let node = ctx.start("max.connections.per.ip=100000\n")?;
    let mut storm: Vec<TcpStream> = Vec::new();
    let wanted = ctx.amount(IDLE as u64) as usize;
    let rss = node.rss_mb();
    let before = node.usage();
    let began = Instant::now();
    for _ in 0..wanted {
        storm.push(raw::connect(node.port, None)?);
    }
    let elapsed = began.elapsed().as_secs_f64();
    let used = node.usage().since(&before);
    std::thread::sleep(Duration::from_secs(2));
    let each = (node.rss_mb() - rss) * 1e6 / wanted as f64;
    Ok(vec![
        Figure::less("memory per idle connection", "B", each),
        Figure::less("CPU per new connection", "us", used.cpu_s() * 1e6 / wanted as f64),
        Figure::more("new connections", "1/s", wanted as f64 / elapsed),
    ])
}
