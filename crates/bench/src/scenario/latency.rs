//! How long a record takes from the time it was due to its consumer.

use std::time::Duration;

use super::Context;
use crate::load::open_loop::end_to_end as run;
use crate::load::{admin, floor};
use crate::machine::Sleeper;
use crate::stats::Figure;

const SETTINGS: &[(&str, &str)] = &[("acks", "all"), ("linger.ms", "1")];

fn thousands(n: u64) -> String {
    format!("{},{:03}", n / 1000, n % 1000)
}

fn at(ctx: &Context<'_>, rates: &[u64]) -> Result<Vec<Figure>, String> {
    let node = ctx.start("")?;
    let bootstrap = node.bootstrap();
    admin::create_topics(&bootstrap, &["warm".to_owned()], 1, &[])?;
    run(&bootstrap, "warm", 5_000, 1024, ctx.lasting(15), SETTINGS)?;
    let mut figures = Vec::new();
    for rate in rates {
        let topic = format!("e2e-{rate}");
        admin::create_topics(&bootstrap, std::slice::from_ref(&topic), 1, &[])?;
        let before = node.usage();
        let lasting = ctx.lasting(30);
        let sleeper = Sleeper::start()?;
        let seen = run(&bootstrap, &topic, *rate, 1024, lasting, SETTINGS);
        let late = sleeper.end();
        let seen = seen?;
        let used = node.usage().since(&before);
        let rate_text = format!("{} records/s", thousands(*rate));
        for (name, quantile, aim) in [
            ("p50", 0.5, None),
            ("p99", 0.99, Some(1.0 / 3.0)),
            ("p99.9", 0.999, Some(0.2)),
            ("p99.99", 0.9999, None),
        ] {
            let value = seen.value_at_quantile(quantile) as f64 / 1e3;
            let figure = Figure::less(format!("end to end at {rate_text}: {name}"), "ms", value);
            figures.push(match aim.filter(|_| *rate == 10_000) {
                Some(ratio) => figure.aim(ratio),
                None => figure,
            });
        }
        for (name, quantile) in [("p99", 0.99), ("p99.9", 0.999)] {
            let value = late.value_at_quantile(quantile) as f64 / 1e3;
            let what = format!("a thread that sleeps 1 ms at a time wakes late, at {rate_text}: {name}");
            figures.push(Figure::beside(what, "ms", value));
        }
        let records = *rate as f64 * lasting.as_secs_f64();
        let figure =
            Figure::less(format!("CPU per record at {rate_text}"), "us", used.cpu_s() * 1e6 / records);
        figures.push(if *rate == 10_000 { figure.aim(1.0 / 6.0) } else { figure });
        // What the linger has a producer send at once.
        let batch = (rate / 1_000).max(1);
        let times = ctx.lasting(10).as_millis() as u32;
        let floor = floor::passed_on(&ctx.base, (batch * 1024) as usize, Duration::from_millis(1), times)?;
        figures.push(Figure::beside(
            format!("a loop that appends and passes on as much each ms: CPU per record at {rate_text}"),
            "us",
            floor / batch as f64,
        ));
    }
    Ok(figures)
}

pub fn end_to_end(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    at(ctx, &[1_000, 10_000])
}

pub fn end_to_end_high(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    at(ctx, &[100_000])
}
