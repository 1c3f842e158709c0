//! Many small requests, many connections.

use std::time::Duration;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::{Context, watch};
use crate::load::admin;
use crate::load::raw::{self, SmallRequests, small_requests as send};
use crate::load::rpc::Rpc;
use crate::process;
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
        // A peer that answers some hundred a second ends a case by this.
        at_most: ctx.lasting(20),
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
        let name = format!("{connections} connections, {in_flight} in flight");
        ctx.say(&name);
        let load = load(connections, in_flight, ctx.amount(requests));
        // Connecting is what another scenario measures.
        let open = raw::connect_small(&load)?;
        let (done, spent) = watch(&node, || raw::send_small(&load, open))?;
        let per = spent.us_per(done.requests);
        let figure = Figure::less(format!("CPU per one-record produce request: {name}"), "us", per);
        figures.push(match aim {
            Some(ratio) => figure.aim(ratio),
            None => figure,
        });
        figures.push(Figure::more(format!("one-record produce requests: {name}"), "1/s", done.per_s()));
        figures.push(Figure::beside(format!("load generator's CPU: {name}"), "% of a core", spent.generator));
        let switches = spent.broker.switches as f64 / done.requests as f64;
        figures.push(Figure::less(format!("context switches per request: {name}"), "", switches));
        // In a pass of its own: whoever counts slows what is counted.
        let open = raw::connect_small(&load)?;
        let pass = || raw::send_small(&load, open);
        if let Some((calls, done)) = process::system_calls(node.pid(), pass)? {
            let per = calls as f64 / done.requests as f64;
            figures.push(Figure::less(format!("system calls per request: {name}"), "", per));
        }
    }
    figures.push(Figure::less("peak RSS, file pages included", "MB", node.peak_mb()));
    Ok(figures)
}

pub fn connections(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    const IDLE: usize = 10_000;
    process::raise_open_files();
    let node = ctx.start("max.connections.per.ip=100000\n")?;
    let wanted = ctx.amount(IDLE as u64) as usize;
    // A first few, so that what is made once is not counted as theirs.
    drop(storm(node.port, 100)?);
    std::thread::sleep(Duration::from_secs(2));
    let rss = node.rss_mb();
    let (open, spent) = watch(&node, || storm(node.port, wanted))?;
    std::thread::sleep(Duration::from_secs(2));
    let each = (node.rss_mb() - rss) * 1024.0 * 1024.0 / wanted as f64;
    let ((), idle) = watch(&node, || {
        std::thread::sleep(ctx.lasting(10));
        Ok(())
    })?;
    drop(open);
    Ok(vec![
        Figure::less("memory per idle connection", "B", each),
        Figure::less("CPU per new connection with its first request", "us", spent.us_per(wanted as u64)),
        Figure::more("new connections", "1/s", wanted as f64 / spent.elapsed.as_secs_f64()),
        Figure::beside("load generator's CPU", "% of a core", spent.generator),
        Figure::less(
            "idle CPU with all of them open",
            "% of a core",
            idle.broker.cpu_s() / idle.elapsed.as_secs_f64() * 100.0,
        ),
    ])
}

/// Opens connections from four threads; each asks for ApiVersions, as every client does, and is kept.
fn storm(port: u16, wanted: usize) -> Result<Vec<Rpc>, String> {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS)
            .map(|i| {
                scope.spawn(move || -> Result<Vec<Rpc>, String> {
                    let mut open = Vec::new();
                    for _ in (i..wanted).step_by(THREADS) {
                        let mut rpc = Rpc::connect(port)?;
                        let request = ApiVersionsRequest {
                            client_software_name: "bench".into(),
                            client_software_version: "1".into(),
                            ..Default::default()
                        };
                        let answer: ApiVersionsResponse = rpc.call(ApiKey::ApiVersions, 3, &request)?;
                        if answer.error_code != 0 {
                            return Err(format!("ApiVersions: error {}", answer.error_code));
                        }
                        open.push(rpc);
                    }
                    Ok(open)
                })
            })
            .collect();
        let mut all = Vec::new();
        for thread in running {
            all.extend(thread.join().map_err(|_| "a thread panicked".to_owned())??);
        }
        Ok(all)
    })
}
