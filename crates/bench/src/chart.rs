//! Charts of the page, as SVG: what is aimed at, headline figures, latency by percentile, rate by number of partitions.

use std::fmt::Write as _;

use crate::book::{Book, Entry, KAFKA, OTTLA, Row};
use crate::report::number;
use crate::stats::Better;

/// (file name, title, SVG), for those charts whose figures are there.
pub fn all(book: &Book) -> Vec<(String, String, String)> {
    let mut out = Vec::new();
    let mut add = |file: &str, title: &str, svg: Option<String>| {
        out.extend(svg.map(|svg| (file.to_owned(), title.to_owned(), svg)));
    };
    let title = "Ottla as a share of Apache Kafka, and the aims";
    add("benchmarks.svg", title, aims(book, title));
    let title = "What work costs";
    add("benchmarks-cost.svg", title, bars(book, title));
    let title = "End-to-end latency at 10,000 records a second";
    add("benchmarks-latency.svg", title, latency(book, title));
    let title = "Produce rate by number of partitions";
    add("benchmarks-partitions.svg", title, by_partitions(book, title));
    out
}

const INK: &str = "#212529";
const FAINT: &str = "#868e96";
const GRID: &str = "#e9ecef";

fn colour(system: &str) -> &'static str {
    match system {
        OTTLA => "#1971c2",
        KAFKA => "#adb5bd",
        "Nisshi (memory)" => "#f08c00",
        _ => "#ffd43b",
    }
}

fn escaped(text: &str) -> String {
    text.trim().replace('&', "&amp;").replace('<', "&lt;")
}

/// An SVG that is drawn piece by piece.
struct Svg(String);

impl Svg {
    fn new(width: f64, height: f64, title: &str) -> Svg {
        let mut out = Svg(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n"
        ));
        let _ = writeln!(
            out.0,
            "<text x=\"20\" y=\"30\" font-size=\"17\" font-weight=\"600\" fill=\"{INK}\">{}</text>",
            escaped(title)
        );
        out
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, fill: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{text}</text>"
        );
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, fill: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{fill}\"/>",
            width.max(1.0)
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    fn curve(&mut self, points: &[(f64, f64)], stroke: &str) {
        let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.0,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2.5\"/>",
            list.join(" ")
        );
        for (x, y) in points {
            let _ = writeln!(self.0, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{stroke}\"/>");
        }
    }

    fn legend(&mut self, systems: &[String], y: f64) {
        let mut x = 20.0;
        for s in systems {
            self.bar(x, y - 10.0, 12.0, 12.0, colour(s));
            self.text(x + 18.0, y, "start", INK, s);
            x += 40.0 + 8.0 * s.len() as f64;
        }
    }

    fn end(self) -> String {
        self.0 + "</svg>\n"
    }
}

fn rows(book: &Book) -> impl Iterator<Item = &Row> {
    book.entries.iter().filter(|e| e.systems.iter().any(|s| s == KAFKA)).flat_map(|e| &e.figures)
}

/// A bar for each ratio that has an aim, on a scale of powers of two around equality; the aim is a tick.
fn aims(book: &Book, title: &str) -> Option<String> {
    const LEFT: f64 = 470.0;
    const WIDTH: f64 = 380.0;
    const ROW: f64 = 26.0;
    // From a five hundredth to twice as much.
    let (low, high) = (0.002f64.log2(), 2f64.log2());
    let x = |ratio: f64| LEFT + (ratio.max(0.002).log2().min(high) - low) / (high - low) * WIDTH;
    let rows: Vec<(&Row, f64, f64)> =
        rows(book).filter_map(|r| Some((r, less(r, r.ratio()?), less(r, r.aim?)))).collect();
    if rows.is_empty() {
        return None;
    }
    let bottom = 80.0 + ROW * rows.len() as f64;
    let mut svg = Svg::new(LEFT + WIDTH + 90.0, bottom + 45.0, title);
    svg.text(20.0, 52.0, "start", FAINT, "shorter is better; the tick is the aim; green where it is reached");
    for (at, label) in
        [(0.004, "1/256"), (0.0156, "1/64"), (0.0625, "1/16"), (0.25, "1/4"), (1.0, "as Kafka")]
    {
        svg.line((x(at), 64.0), (x(at), bottom), if at == 1.0 { FAINT } else { GRID }, 1.0);
        svg.text(x(at), bottom + 18.0, "middle", FAINT, label);
    }
    for (i, (row, ratio, aim)) in rows.iter().enumerate() {
        let y = 70.0 + ROW * i as f64;
        let fill = if ratio <= aim { "#2f9e44" } else { "#e8590c" };
        svg.text(LEFT - 10.0, y + 13.0, "end", INK, &row.name);
        svg.bar(LEFT, y, x(*ratio) - LEFT, 16.0, fill);
        svg.line((x(*aim), y - 3.0), (x(*aim), y + 19.0), INK, 2.5);
        let told = if *ratio >= 0.1 { format!("{ratio:.2}") } else { format!("1/{:.0}", 1.0 / ratio) };
        svg.text(x(*ratio).max(x(*aim)) + 8.0, y + 13.0, "start", INK, &told);
    }
    Some(svg.end())
}

/// A ratio turned so that less is better.
fn less(row: &Row, ratio: f64) -> f64 {
    if row.better == Better::Less { ratio } else { 1.0 / ratio.max(1e-9) }
}

/// Each of the headline figures as a group of bars with a scale of its own; a thin line is the spread of the rounds.
fn bars(book: &Book, title: &str) -> Option<String> {
    const HEADLINES: [(&str, &str); 12] = [
        ("startup", "start to first answer"),
        ("startup", "RSS idle"),
        ("startup", "idle CPU"),
        ("produce", "CPU per GB produced (1 KiB, acks=1, linger 5 ms)"),
        ("produce", "CPU per GB consumed (1 KiB)"),
        ("produce", "RSS after the load"),
        ("requests", "CPU per one-record produce request: 1 connections, 100 in flight"),
        ("requests", "one-record produce requests: 10 connections, 5 in flight"),
        ("latency", "end to end at 10,000 records/s: p99"),
        ("transactions", "transactions: 10 producers"),
        ("compaction", "compaction"),
        ("recovery", "first fetch after kill -9"),
    ];
    const LEFT: f64 = 480.0;
    const WIDTH: f64 = 380.0;
    let groups: Vec<(&Row, &Entry)> = HEADLINES
        .iter()
        .filter_map(|(scenario, figure)| {
            let entry = book.find(scenario)?;
            let row = entry.figures.iter().find(|r| r.name == *figure)?;
            (row.values.len() > 1).then_some((row, entry))
        })
        .collect();
    let systems = systems_of(groups.iter().map(|(_, e)| *e));
    if groups.is_empty() {
        return None;
    }
    let height: f64 = groups.iter().map(|(row, _)| 16.0 * row.values.len() as f64 + 14.0).sum();
    let mut svg = Svg::new(LEFT + WIDTH + 110.0, 80.0 + height, title);
    svg.legend(&systems, 56.0);
    let mut y = 76.0;
    for (row, entry) in groups {
        let spreads: Vec<_> =
            entry.systems.iter().filter_map(|s| Some((s.as_str(), row.spread(s)?))).collect();
        let most = spreads.iter().map(|(_, s)| s.greatest).fold(f64::MIN_POSITIVE, f64::max);
        let better = if row.better == Better::Less { "less is better" } else { "more is better" };
        svg.text(LEFT - 10.0, y + 12.0, "end", INK, &row.name);
        svg.text(LEFT - 10.0, y + 27.0, "end", FAINT, &format!("{} - {better}", row.unit));
        for (system, s) in spreads {
            let x = |v: f64| LEFT + v / most * WIDTH;
            svg.bar(LEFT, y, x(s.median) - LEFT, 12.0, colour(system));
            svg.line((x(s.least), y + 6.0), (x(s.greatest), y + 6.0), INK, 1.0);
            svg.text(x(s.greatest) + 6.0, y + 11.0, "start", INK, &number(s.median));
            y += 16.0;
        }
        y += 14.0;
    }
    Some(svg.end())
}

fn systems_of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for s in entries.flat_map(|e| &e.systems) {
        if !out.contains(s) {
            out.push(s.clone());
        }
    }
    out
}

/// Points of each system, joined by lines over labels that lie at even distances.
struct Curves {
    labels: Vec<String>,
    unit: String,
    /// Whether the scale goes by powers of ten.
    logarithmic: bool,
    points: Vec<(String, Vec<Option<f64>>)>,
}

fn curves(title: &str, c: &Curves) -> Option<String> {
    const LEFT: f64 = 80.0;
    const WIDTH: f64 = 640.0;
    const TOP: f64 = 80.0;
    const HEIGHT: f64 = 260.0;
    let values = || c.points.iter().flat_map(|(_, v)| v.iter().flatten().copied()).filter(|v| *v > 0.0);
    let most = values().fold(f64::MIN_POSITIVE, f64::max);
    let least = values().fold(most, f64::min);
    if c.labels.len() < 2 || values().count() < 2 {
        return None;
    }
    let (low, high) =
        if c.logarithmic { (least.log10().floor(), most.log10().ceil()) } else { (0.0, most * 1.1) };
    let y = |v: f64| {
        let v = if c.logarithmic { v.max(1e-9).log10() } else { v };
        TOP + HEIGHT - (v - low) / (high - low).max(1e-9) * HEIGHT
    };
    let x = |i: usize| LEFT + 40.0 + i as f64 / (c.labels.len() - 1) as f64 * (WIDTH - 80.0);
    let mut svg = Svg::new(LEFT + WIDTH + 60.0, TOP + HEIGHT + 50.0, title);
    svg.legend(&c.points.iter().map(|(s, _)| s.clone()).collect::<Vec<_>>(), 56.0);
    let ticks: Vec<f64> = if c.logarithmic {
        (low as i32..=high as i32).map(|e| 10f64.powi(e)).collect()
    } else {
        (0..=4).map(|i| high * f64::from(i) / 4.0).collect()
    };
    for tick in ticks {
        svg.line((LEFT, y(tick)), (LEFT + WIDTH, y(tick)), GRID, 1.0);
        svg.text(LEFT - 8.0, y(tick) + 4.0, "end", FAINT, &format!("{} {}", number(tick), c.unit));
    }
    for (i, label) in c.labels.iter().enumerate() {
        svg.text(x(i), TOP + HEIGHT + 22.0, "middle", FAINT, label);
    }
    for (system, values) in &c.points {
        let points: Vec<(usize, f64, f64)> =
            values.iter().enumerate().filter_map(|(i, v)| Some((i, y((*v)?), (*v)?))).collect();
        svg.curve(&points.iter().map(|(i, y, _)| (x(*i), *y)).collect::<Vec<_>>(), colour(system));
        for (i, y, value) in points {
            // The lowest of a place has its number below, so that two that are close stay legible.
            let lowest = c.points.iter().all(|(_, v)| v.get(i).copied().flatten().is_none_or(|v| v >= value));
            svg.text(x(i), if lowest { y + 18.0 } else { y - 9.0 }, "middle", INK, &number(value));
        }
    }
    Some(svg.end())
}

fn gather(entry: &Entry, names: &[String], labels: &[&str], logarithmic: bool) -> Curves {
    let found: Vec<Option<&Row>> =
        names.iter().map(|n| entry.figures.iter().find(|r| r.name == *n)).collect();
    Curves {
        labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        unit: found.iter().flatten().next().map_or(String::new(), |r| r.unit.clone()),
        logarithmic,
        points: entry
            .systems
            .iter()
            .map(|s| (s.clone(), found.iter().map(|r| Some((*r)?.spread(s)?.median)).collect()))
            .collect(),
    }
}

fn latency(book: &Book, title: &str) -> Option<String> {
    let labels = ["p50", "p99", "p99.9", "p99.99"];
    let names = labels.map(|l| format!("end to end at 10,000 records/s: {l}"));
    curves(title, &gather(book.find("latency")?, &names, &labels, true))
}

fn by_partitions(book: &Book, title: &str) -> Option<String> {
    let labels = ["100", "1000", "5000", "10000"];
    let names = labels.map(|l| format!("produce rate with {l} partitions"));
    curves(title, &gather(book.find("partitions")?, &names, &labels, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Measured;
    use crate::scenario::by_name;
    use crate::stats::Figure;
    use crate::system::System;

    #[test]
    fn charts_are_drawn_of_what_is_there() {
        assert!(all(&Book::default()).is_empty());
        let mut m = Measured::of(by_name("latency").expect("there is one"));
        for (system, factor) in [(System::Ottla, 1.0), (System::Kafka, 4.0)] {
            for (i, p) in ["p50", "p99", "p99.9", "p99.99"].into_iter().enumerate() {
                let name = format!("end to end at 10,000 records/s: {p}");
                m.results.add(system.name(), Figure::less(name, "ms", factor * (i + 1) as f64).aim(0.5));
            }
        }
        let book = Book::of(vec![m], &[System::Ottla, System::Kafka], 1, false, std::path::Path::new("/"));
        let drawn = all(&book);
        let files: Vec<&str> = drawn.iter().map(|(file, ..)| file.as_str()).collect();
        assert_eq!(files, ["benchmarks.svg", "benchmarks-cost.svg", "benchmarks-latency.svg"]);
        for (_, _, svg) in drawn {
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
