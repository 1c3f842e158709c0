//! Small transactions.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{Context, watch};
use crate::load::admin;
use crate::stats::Figure;

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn transactions(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("")?;
    let bootstrap = node.bootstrap();
    admin::create_topics(&bootstrap, &["paid".to_owned()], PARTITIONS, &[])?;
    ctx.say("warming up");
    run(&bootstrap, 2, ctx.lasting(6))?;
    let mut figures = Vec::new();
    for producers in [1, 10] {
        let name = format!("{producers} producers");
        ctx.say(&name);
        let (done, spent) = watch(&node, || run(&bootstrap, producers, ctx.lasting(12)))?;
        figures.push(Figure::more(format!("transactions: {name}"), "1/s", done.per_s));
        figures.push(Figure::less(
            format!("CPU per transaction: {name}"),
            "us",
            spent.us_per(done.committed),
        ));
        figures.push(Figure::beside(format!("load generator's CPU: {name}"), "% of a core", spent.generator));
    }
    Ok(figures)
}

struct Done {
    committed: u64,
    per_s: f64,
}

/// So many producers at a time, each with one transaction after the other. They are made ready before the time begins.
fn run(bootstrap: &str, producers: usize, lasting: Duration) -> Result<Done, String> {
    let mut ready = Vec::new();
    for i in 0..producers {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", format!("bench-{producers}-{i}"))
            .set("linger.ms", "0")
            .create()
            .map_err(|e| e.to_string())?;
        producer.init_transactions(PATIENCE).map_err(|e| e.to_string())?;
        ready.push(producer);
    }
    let began = Instant::now();
    let committed = std::thread::scope(|scope| {
        let running: Vec<_> = ready
            .iter()
            .enumerate()
            .map(|(i, producer)| {
                scope.spawn(move || -> Result<u64, String> {
                    let payload = [b'x'; 100];
                    let mut committed = 0u64;
                    while began.elapsed() < lasting {
                        let partition = (i as u64 + committed) % PARTITIONS as u64;
                        let record = BaseRecord::<(), [u8]>::to("paid").partition(partition as i32);
                        producer.begin_transaction().map_err(|e| e.to_string())?;
                        producer.send(record.payload(&payload)).map_err(|(e, _)| e.to_string())?;
                        // A commit waits for deliveries, and hears of them only ten times a second.
                        while producer.in_flight_count() > 0 {
                            producer.poll(Duration::from_millis(1));
                        }
                        producer.commit_transaction(PATIENCE).map_err(|e| e.to_string())?;
                        committed += 1;
                    }
                    Ok(committed)
                })
            })
            .collect();
        running.into_iter().try_fold(0, |sum, t| match t.join() {
            Ok(done) => Ok(sum + done?),
            Err(_) => Err("a producer panicked".to_owned()),
        })
    })?;
    Ok(Done { committed, per_s: committed as f64 / began.elapsed().as_secs_f64() })
}
