//! Ottla and its peers under the same load, one after the other on the same machine, as ratios.
//!
//! `ottla-bench [quick] [SCENARIO..] [--against kafka,nisshi|none] [--rounds N] [--json F] [--report] [--compare F]`.
//! Systems alternate within each round, and every second round in the opposite order, so that a noisy machine shows as
//! spread and not as a claim.

mod book;
mod chart;
mod load;
mod machine;
mod process;
mod report;
mod scenario;
mod stats;
mod system;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use book::{Book, Measured};
use scenario::{Context, SCENARIOS, Scenario};
use system::{Programs, System};

/// Free disk below which nothing is started: the largest scenario keeps a few gigabytes.
const MIN_FREE_BYTES: u64 = 12 << 30;

struct Options {
    scenarios: Vec<&'static Scenario>,
    systems: Vec<System>,
    rounds: usize,
    quick: bool,
    json: Option<PathBuf>,
    compare: Option<PathBuf>,
    report: bool,
    ottla: PathBuf,
    kafka_classpath: String,
    tools_classpath: String,
    nisshi: PathBuf,
    base: PathBuf,
}

const USAGE: &str = "\
usage: cargo xtask bench [SCENARIO..] [options]
       cargo xtask bench quick [--compare FILE]   a few minutes, ratios only; FILE is an earlier run's --json

  --against kafka,nisshi|none   the peers (default kafka)
  --rounds N                    how often each system is measured (default 3)
  --json FILE                   writes every figure
  --report                      puts what was measured into docs/benchmarks.json, and writes docs/benchmarks.md and its
                                charts from it; scenarios that were measured before keep their figures. With
                                --rounds 0 the page is only written anew
  --dir DIR                     where data folders go (default: the temporary directory)
  --ottla FILE                  the program to measure (default target/release/ottla)
";

fn main() {
    if let Err(error) = start() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn parse(args: Vec<String>) -> Result<Options, String> {
    let mut args = args.into_iter();
    let mut o = Options {
        scenarios: Vec::new(),
        systems: vec![System::Ottla, System::Kafka],
        rounds: 3,
        quick: false,
        json: None,
        compare: None,
        report: false,
        ottla: PathBuf::from("target/release/ottla"),
        kafka_classpath: std::env::var("KAFKA_CLASSPATH").unwrap_or_default(),
        tools_classpath: std::env::var("KAFKA_TOOLS_CLASSPATH").unwrap_or_default(),
        nisshi: std::env::var_os("NISSHI").unwrap_or_default().into(),
        base: std::env::temp_dir(),
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n\n{USAGE}"));
        match arg.as_str() {
            "--against" => {
                o.systems = vec![System::Ottla];
                for name in value()?.split(',').filter(|n| *n != "none") {
                    let named = System::parse(name);
                    o.systems.extend(named.ok_or_else(|| format!("unknown system {name}\n\n{USAGE}"))?);
                }
            }
            "--rounds" => o.rounds = value()?.parse().map_err(|_| "--rounds needs a number".to_owned())?,
            "--json" => o.json = Some(value()?.into()),
            "--compare" => o.compare = Some(value()?.into()),
            "--report" => o.report = true,
            "--dir" => o.base = value()?.into(),
            "--ottla" => o.ottla = value()?.into(),
            "--help" => return Err(help()),
            "quick" => o.quick = true,
            name => {
                let known = scenario::by_name(name);
                o.scenarios.push(known.ok_or_else(|| format!("unknown scenario {name}\n\n{}", help()))?);
            }
        }
    }
    if o.scenarios.is_empty() {
        o.scenarios = SCENARIOS.iter().filter(|s| s.quick || !o.quick).collect();
    }
    Ok(o)
}

fn help() -> String {
    let list: String = SCENARIOS.iter().map(|s| format!("  {:20} {}\n", s.name, s.about)).collect();
    format!("{USAGE}\nscenarios:\n{list}")
}

fn start() -> Result<(), String> {
    let mut o = parse(std::env::args().skip(1).collect())?;
    if o.systems.contains(&System::Kafka) && o.kafka_classpath.is_empty() {
        eprintln!("no Apache Kafka here (Java and Maven bring it): measuring Ottla alone");
        o.systems.retain(|s| *s != System::Kafka);
    }
    if o.tools_classpath.is_empty() && o.scenarios.iter().any(|s| s.name == scenario::JAVA_CLIENTS) {
        eprintln!("no Kafka tools here (Java and Maven bring them): leaving out {}", scenario::JAVA_CLIENTS);
        o.scenarios.retain(|s| s.name != scenario::JAVA_CLIENTS);
    }
    if o.systems.iter().any(|s| s.is_nisshi()) && o.nisshi.as_os_str().is_empty() {
        eprintln!("no nisshi here (`cargo install nisshi` brings it): leaving it out");
        o.systems.retain(|s| !s.is_nisshi());
    }
    let free = machine::free_bytes(&o.base);
    if free < MIN_FREE_BYTES {
        return Err(format!(
            "{}: only {} MB free, {} MB needed",
            o.base.display(),
            free >> 20,
            MIN_FREE_BYTES >> 20
        ));
    }
    let programs = Programs {
        ottla: o.ottla.clone(),
        kafka_classpath: o.kafka_classpath.clone(),
        tools_classpath: o.tools_classpath.clone(),
        nisshi: o.nisshi.clone(),
    };
    let all = measure(&o, &programs)?;
    let failed = all.iter().filter(|m| m.notes.contains_key(System::Ottla.name())).count();
    let book = Book::of(all, &o.systems, o.rounds, o.quick, &o.base);
    println!("{}", report::tables(&book));
    if let Some(path) = &o.json {
        book.save(path)?;
    }
    if let Some(path) = &o.compare {
        println!("{}", report::compare(&book, &Book::load(path)?));
    }
    if o.report {
        let docs = std::path::Path::new("docs");
        let kept = docs.join("benchmarks.json");
        let mut known = if kept.exists() { Book::load(&kept)? } else { Book::default() };
        known.merge(book);
        known.save(&kept)?;
        report::write(&known, docs)?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("Ottla failed in {failed} scenarios: see the notes below their tables")),
    }
}

/// Every scenario on every system, as often as there are rounds.
fn measure(o: &Options, programs: &Programs) -> Result<Vec<Measured>, String> {
    let mut all: Vec<Measured> = o.scenarios.iter().map(|s| Measured::of(s)).collect();
    let began = Instant::now();
    let steps = o.scenarios.len() * o.systems.len() * o.rounds;
    let mut step = 0;
    for round in 1..=o.rounds {
        let mut systems = o.systems.clone();
        if round % 2 == 0 {
            systems.reverse();
        }
        for measured in &mut all {
            let scenario = measured.scenario;
            for system in &systems {
                step += 1;
                let name = system.name();
                let elapsed = began.elapsed().as_secs();
                eprintln!("[{step}/{steps}, {elapsed} s] {}: {name}, round {round}", scenario.name);
                if let Some(why) = scenario.not_nisshi.filter(|_| system.is_nisshi()) {
                    eprintln!("    left out: {why}");
                    measured.notes.insert(name.to_owned(), format!("left out: {why}"));
                    continue;
                }
                if !machine::settle(&o.base) && step == 1 {
                    eprintln!("    the page cache is not emptied between systems: that needs root");
                }
                let context = Context {
                    system: *system,
                    programs,
                    base: o.base.clone(),
                    quick: o.quick,
                    notes: RefCell::default(),
                };
                let done = (scenario.run)(&context);
                let mut notes = context.notes.into_inner();
                match done {
                    Ok(figures) => {
                        for figure in figures {
                            eprintln!("    {}: {:.3} {}", figure.name, figure.value, figure.unit);
                            measured.results.add(name, figure);
                        }
                    }
                    // What one cannot do is no reason to stop; the table shows a gap and the reason.
                    Err(error) => {
                        let error = error.lines().next().unwrap_or_default();
                        eprintln!("    failed: {error}");
                        notes.push(error.to_owned());
                    }
                }
                if !notes.is_empty() {
                    let notes = format!("failed in round {round}: {}", notes.join("; "));
                    measured.notes.insert(name.to_owned(), notes);
                }
            }
        }
    }
    Ok(all)
}
