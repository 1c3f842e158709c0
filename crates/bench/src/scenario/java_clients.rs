//! The load of Kafka's Java clients, with the settings that they have by themselves.

use super::Context;
use crate::load::floor::received_and_written;
use crate::load::java::Tool;
use crate::stats::Figure;
use crate::system::Node;
use crate::{load::admin, machine, process};

const KIB: usize = 1024;
/// `batch.size` that Java producers have by themselves.
const BATCH_BYTES: usize = 16 * KIB;
const PARTITIONS: i32 = 4;
const TOPIC: &str = "java";

pub fn java_clients(ctx: &Context<'_>) -> Result<Vec<Figure>, String> {
    let node = ctx.start("log.retention.bytes=4294967296\nlog.segment.bytes=268435456\n")?;
    admin::create_topics(&node.bootstrap(), &[TOPIC.to_owned()], PARTITIONS, &[])?;
    let bootstrap = node.bootstrap();
    let records = ctx.amount(2_000_000);
    let tool =
        Tool { classpath: &ctx.programs.tools_classpath, bootstrap: &bootstrap, topic: TOPIC, records };
    ctx.say("warming up");
    tool.produce(KIB)?;
    machine::warm_page_cache(&ctx.base, records * 2 * KIB as u64);
    let floor = received_and_written(&ctx.base, records * KIB as u64, BATCH_BYTES)?;
    let mut figures = Vec::new();
    ctx.say("producing");
    measure(&node, &mut figures, "produced", records, || tool.produce(KIB))?;
    let what = "a loop that receives as much, 16 KiB at a time, and writes it to a file: CPU per GB";
    figures.push(Figure::beside(what, "s", floor));
    ctx.say("consuming");
    let all = Tool { records: records * 2, ..tool };
    measure(&node, &mut figures, "consumed", all.records, || all.consume())?;
    Ok(figures)
}

/// CPU of the node and of the tool, with the start and the end of its JVM, and what the tool says of its rate.
fn measure(
    node: &Node,
    figures: &mut Vec<Figure>,
    what: &str,
    records: u64,
    run: impl FnOnce() -> Result<f64, String>,
) -> Result<(), String> {
    let (before, children) = (node.usage(), process::children_cpu_s());
    let per_s = run()?;
    let (used, tool) = (node.usage().since(&before), process::children_cpu_s() - children);
    let gb = records as f64 * KIB as f64 / 1e9;
    figures.push(Figure::less(format!("CPU per GB {what} (1 KiB, Java client)"), "s", used.cpu_s() / gb));
    figures.push(Figure::less(format!("of it in user mode, {what}"), "s", used.user_s / gb));
    figures.push(Figure::more(
        format!("rate {what}, as the tool tells it"),
        "MB/s",
        per_s * KIB as f64 / 1e6,
    ));
    figures.push(Figure::beside(format!("CPU of the tool per GB {what}"), "s", tool / gb));
    Ok(())
}
