//! Tables, comparisons and the page.

use std::fmt::Write as _;
use std::path::Path;

use crate::book::{Book, Entry, KAFKA, OTTLA, Row};
use crate::chart;
use crate::scenario;
use crate::stats::{Better, Spread};

/// Changes smaller than this are noise to `--compare`.
const NOISE: f64 = 0.15;
/// What stands between these lines is written by `--report`; what comes after them is kept.
const BEGIN: &str =
    "<!-- Written by `cargo xtask bench --report` from benchmarks.json: do not edit up to the end mark. -->";
const END: &str = "<!-- The end of what is written by the bench. What follows is kept by hand. -->";

pub fn number(v: f64) -> String {
    match v.abs() {
        a if a >= 1000.0 => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.1}"),
        a if a >= 0.1 => format!("{v:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{v:.4}"),
    }
}

fn cell(spread: Option<Spread>, rounds: usize) -> String {
    spread.map_or("-".to_owned(), |s| match rounds {
        1 => number(s.median),
        _ => format!("{} ({} to {})", number(s.median), number(s.least), number(s.greatest)),
    })
}

fn aim(row: &Row) -> String {
    let sign = if row.better == Better::Less { "<=" } else { ">=" };
    let mut parts = Vec::new();
    if let Some(ratio) = row.aim {
        parts.push(format!("ratio {sign} {}", number(ratio)));
    }
    if let Some(goal) = row.goal {
        parts.push(format!("{sign} {} {}", number(goal), row.unit));
    }
    if parts.is_empty() {
        return String::new();
    }
    let reached = match row.reached() {
        Some(true) => ": yes",
        Some(false) => ": **no**",
        None => "",
    };
    format!("{}{reached}", parts.join(", ").trim_end())
}

fn about(entry: &Entry) -> &'static str {
    scenario::by_name(&entry.scenario).map_or("", |s| s.about)
}

fn table(out: &mut String, entry: &Entry) {
    let beside_kafka = entry.systems.iter().any(|s| s == KAFKA);
    let _ = write!(out, "| figure | unit |");
    for s in &entry.systems {
        let _ = write!(out, " {s} |");
    }
    let last = if beside_kafka { " Ottla / Kafka | aim |" } else { "" };
    let _ = writeln!(out, "{last}");
    let columns = entry.systems.len() + if beside_kafka { 2 } else { 0 };
    let _ = writeln!(out, "|---|---|{}", "---|".repeat(columns));
    for f in &entry.figures {
        let _ = write!(out, "| {} | {} |", f.name.trim_start(), f.unit);
        for s in &entry.systems {
            let _ = write!(out, " {} |", cell(f.spread(s), entry.rounds));
        }
        if beside_kafka {
            let ratio = f.ratio().map_or("-".to_owned(), |r| format!("{r:.3}"));
            let _ = write!(out, " {ratio} | {} |", aim(f));
        }
        out.push('\n');
    }
    for (system, note) in &entry.notes {
        let _ = writeln!(out, "\n{system} {note}.");
    }
}

/// One table of Markdown for each entry.
pub fn tables(book: &Book) -> String {
    let mut out = String::new();
    for entry in &book.entries {
        let _ = writeln!(out, "### {}\n\n{}.\n", entry.scenario, about(entry));
        table(&mut out, entry);
        out.push('\n');
    }
    out
}

/// What moved against an earlier run: ratios to Kafka where both have one, else Ottla's own medians.
pub fn compare(now: &Book, earlier: &Book) -> String {
    let mut out = String::from("| figure | before | now | |\n|---|---|---|---|\n");
    for entry in &now.entries {
        let Some(old) = earlier.find(&entry.scenario) else { continue };
        for f in entry.figures.iter().filter(|f| f.better != Better::Neither) {
            let Some(was) = old.figures.iter().find(|o| o.name == f.name) else { continue };
            let median = |row: &Row| row.spread(OTTLA).map(|s| s.median);
            let (before, now) = match (was.ratio(), f.ratio(), median(was), median(f)) {
                (Some(b), Some(n), ..) => (b, n),
                (_, _, Some(b), Some(n)) => (b, n),
                _ => continue,
            };
            let change = if before == 0.0 { 0.0 } else { now / before - 1.0 };
            let verdict = if change.abs() < NOISE {
                ""
            } else if (change < 0.0) == (f.better == Better::Less) {
                "better"
            } else {
                "WORSE"
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {verdict} |",
                f.name.trim_start(),
                number(before),
                number(now)
            );
        }
    }
    out
}

/// Writes `benchmarks.md` and its charts. What a person wrote below the end mark stays.
pub fn write(book: &Book, docs: &Path) -> Result<(), String> {
    let put = |name: &str, text: &str| {
        let path = docs.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    let old = std::fs::read_to_string(docs.join("benchmarks.md")).unwrap_or_default();
    let mut charts = Vec::new();
    for (name, title, svg) in chart::all(book) {
        put(&name, &svg)?;
        charts.push((name, title));
    }
    put("benchmarks.md", &page(book, &charts, by_hand(&old)))
}

/// What stands below the end mark.
fn by_hand(old: &str) -> &str {
    old.split_once(END).map_or("", |(_, kept)| kept.trim())
}

fn page(book: &Book, charts: &[(String, String)], by_hand: &str) -> String {
    let mut out = format!(
        "# Benchmarks\n\n{BEGIN}\n\n\
         Each system runs as a process of its own with a fresh data folder on the same file system and the same\n\
         `server.properties`, one after the other, every second round in the opposite order. Before each turn everything is\n\
         written to the disk, the page cache is emptied (as root) and then has a file of 3 GiB come and go, so that no system pays for\n\
         pages that the hypervisor has to find. A cell is the median of the rounds, with the least and the greatest value.\n\
         CPU is user and system time of the broker's process, RSS its anonymous memory. The load comes from librdkafka on the\n\
         same machine; from Kafka's Java tools in `java-clients`; from bare requests on sockets, with an exact number in flight, where librdkafka would be the bottleneck;\n\
         where the load generator's own CPU is near all there is, a rate says what it can do, and the broker's CPU is the figure\n\
         to look at. Apache Kafka (4.4.0, `xtask/java/kafka-broker.xml`) has its default heap of 1 GB and is warmed up by the same load.\n\n"
    );
    for (name, title) in charts {
        let _ = writeln!(out, "![{title}]({name})\n");
    }
    let quick = if book.entries.iter().any(|e| e.quick) {
        "Entries marked *quick* are a look with a tenth of the amounts, not a measurement.\n\n"
    } else {
        ""
    };
    out.push_str(quick);
    for entry in &book.entries {
        let beside = match entry.systems.get(1..) {
            Some([]) | None => " alone".to_owned(),
            Some(peers) if peers == [KAFKA] => String::new(),
            Some(peers) => format!(" beside {}", peers.join(", ")),
        };
        let quick = if entry.quick { " *quick*" } else { "" };
        let _ = writeln!(out, "### {}{beside}{quick}\n\n{}.\n", entry.scenario, about(entry));
        table(&mut out, entry);
        let rounds =
            if entry.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", entry.rounds) };
        let _ = writeln!(
            out,
            "\n`cargo xtask bench {}{}` on {} UTC, {rounds}, commit {}; {}.\n",
            if entry.quick { "quick " } else { "" },
            entry.scenario,
            entry.date,
            entry.commit,
            entry.machine
        );
    }
    let _ = write!(out, "{END}\n\n{by_hand}");
    out.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_wrote_stays() {
        let first = page(&Book::default(), &[], "## What it means\n\nMuch.");
        let again = page(&Book::default(), &[("a.svg".into(), "A".into())], by_hand(&first));
        assert!(again.contains("![A](a.svg)"), "{again}");
        assert!(again.ends_with("## What it means\n\nMuch.\n"), "{again}");
        assert_eq!(by_hand("a page of before"), "");
    }
}
