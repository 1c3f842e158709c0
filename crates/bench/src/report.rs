//! Tables, JSON, the page and its charts.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::scenario::Scenario;
use crate::stats::{Better, Results, Spread};

/// Changes smaller than this are noise to `--compare`.
const NOISE: f64 = 0.15;
const KAFKA: &str = "Apache Kafka";
const OTTLA: &str = "Ottla";

type All = [(&'static Scenario, Results)];

fn number(v: f64) -> String {
    match v.abs() {
        a if a >= 1000.0 => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.1}"),
        a if a >= 0.1 => format!("{v:.2}"),
        _ => format!("{v:.4}"),
    }
}

fn cell(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |s| {
        format!("{} ({} to {})", number(s.median), number(s.least), number(s.greatest))
    })
}

/// One table of Markdown for each scenario.
pub fn tables(all: &All, systems: &[&str]) -> String {
    let mut out = String::new();
    for (scenario, results) in all {
        let _ = writeln!(out, "### {}\n\n{}.\n", scenario.name, scenario.about);
        let _ = write!(out, "| figure | unit |");
        for s in systems {
            let _ = write!(out, " {s} |");
        }
        let _ = writeln!(out, " Ottla / Kafka | aim |");
        let _ = writeln!(out, "|---|---|{}---|---|", "---|".repeat(systems.len()));
        for f in results.figures() {
            let _ = write!(out, "| {} | {} |", f.name.trim_start(), f.unit);
            for s in systems {
                let _ = write!(out, " {} |", cell(results.spread(s, &f.name)));
            }
            let ratio = results.ratio(OTTLA, KAFKA, &f.name);
            let reached = match (ratio, f.aim) {
                (Some(r), Some(aim)) if (f.better == Better::Less) == (r <= aim) => " yes",
                (Some(_), Some(_)) => " no",
                _ => "",
            };
            let ratio = ratio.map_or("-".to_owned(), |r| format!("{r:.3}"));
            let aim = f.aim.map_or(String::new(), |a| {
                format!("{} {a:.3}:{reached}", if f.better == Better::Less { "<=" } else { ">=" })
            });
            let _ = writeln!(out, " {ratio} | {aim} |");
        }
        out.push('\n');
    }
    out
}

/// Every figure with every median, for machines.
pub fn json(all: &All, systems: &[&str]) -> String {
    let scenarios: Vec<Value> = all
        .iter()
        .map(|(scenario, results)| {
            let figures: Vec<Value> = results
                .figures()
                .map(|f| {
                    let values: serde_json::Map<String, Value> = systems
                        .iter()
                        .filter_map(|s| {
                            let v = results.spread(s, &f.name)?;
                            let value = json!({"median": v.median, "least": v.least, "greatest": v.greatest});
                            Some(((*s).to_owned(), value))
                        })
                        .collect();
                    json!({
                        "name": f.name, "unit": f.unit, "better": if f.better == Better::Less { "less" } else { "more" },
                        "systems": values, "ratio": results.ratio(OTTLA, KAFKA, &f.name), "aim": f.aim,
                    })
                })
                .collect();
            json!({"scenario": scenario.name, "figures": figures})
        })
        .collect();
    serde_json::to_string_pretty(&scenarios).unwrap_or_default()
}

/// What moved against an earlier run: ratios to Kafka where both have one, else Ottla's own medians.
pub fn compare(all: &All, earlier: &str) -> Result<String, String> {
    let earlier: Value = serde_json::from_str(earlier).map_err(|e| format!("the earlier run: {e}"))?;
    let old = |scenario: &str, figure: &str| -> Option<(Option<f64>, Option<f64>)> {
        let s = earlier.as_array()?.iter().find(|s| s["scenario"] == scenario)?;
        let f = s["figures"].as_array()?.iter().find(|f| f["name"] == figure)?;
        Some((f["ratio"].as_f64(), f["systems"][OTTLA]["median"].as_f64()))
    };
    let mut out = String::from("| figure | before | now | |\n|---|---|---|---|\n");
    for (scenario, results) in all {
        for f in results.figures() {
            let Some((old_ratio, old_value)) = old(scenario.name, &f.name) else { continue };
            let now_ratio = results.ratio(OTTLA, KAFKA, &f.name);
            let now_value = results.spread(OTTLA, &f.name).map(|s| s.median);
            let (before, now) = match (old_ratio, now_ratio, old_value, now_value) {
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
    Ok(out)
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map_or("?", |(_, m)| m.trim());
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {model}; Linux {}", kernel.trim())
}

fn today() -> String {
    let out = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    out.map_or_else(|_| "?".to_owned(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}

/// Writes `benchmarks.md` and one chart.
pub fn write(all: &All, systems: &[&str], arguments: &str, docs: &Path) -> Result<(), String> {
    let text = format!(
        "# Benchmarks\n\n`cargo xtask bench {arguments}` wrote this page on {}. Each system runs as its own process\n\
         with a fresh data folder and the same `server.properties`; systems alternate; a cell is the median of the rounds with the\n\
         least and the greatest value. CPU is user and system time of the broker's process; RSS is its anonymous memory. The load\n\
         comes from librdkafka on the same machine, one-record requests from a client of our own that keeps an exact number in\n\
         flight. Apache Kafka has its default heap of 1 GB, and the same load warms it up before what is measured.\n\n\
         Machine: {}. Ottla {}; Apache Kafka as in `xtask/java/kafka-broker.xml`.\n\n\
         ![Ottla against Apache Kafka](benchmarks.svg)\n\n{}",
        today(),
        machine(),
        env!("CARGO_PKG_VERSION"),
        tables(all, systems)
    );
    let put = |name: &str, text: &str| {
        let path = docs.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    put("benchmarks.md", text.trim_end())?;
    put("benchmarks.svg", &chart(all))
}

/// Bars of the ratios that have an aim, with the aim as a line: shorter is better.
fn chart(all: &All) -> String {
    let rows: Vec<(String, f64, f64)> = all
        .iter()
        .flat_map(|(_, r)| {
            r.figures().filter_map(|f| Some((f.name.clone(), r.ratio(OTTLA, KAFKA, &f.name)?, f.aim?)))
        })
        .collect();
    let (left, width, row) = (430.0, 360.0, 28.0);
    let height = 60.0 + row * rows.len() as f64;
    let scale = |v: f64| left + v.clamp(0.0, 1.0) * width;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"22\" fill=\"#444\">Ottla as a share of Apache Kafka (the whole width); the line is the aim</text>\n",
        left + width + 60.0
    );
    for (i, (name, ratio, aim)) in rows.iter().enumerate() {
        let y = 40.0 + row * i as f64;
        let name = name.trim().replace('&', "&amp;").replace('<', "&lt;");
        let colour = if ratio <= aim { "#2b8a3e" } else { "#c92a2a" };
        let _ = write!(
            out,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#222\">{name}</text>\n\
             <rect x=\"{left}\" y=\"{y:.0}\" width=\"{width}\" height=\"16\" fill=\"#eee\"/>\n\
             <rect x=\"{left}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
             <line x1=\"{a:.1}\" x2=\"{a:.1}\" y1=\"{:.0}\" y2=\"{:.0}\" stroke=\"#222\" stroke-width=\"2\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" fill=\"#222\">{ratio:.2}</text>\n",
            left - 8.0,
            y + 13.0,
            scale(*ratio) - left,
            y - 3.0,
            y + 19.0,
            left + width + 8.0,
            y + 13.0,
            a = scale(*aim),
        );
    }
    out + "</svg>\n"
}
