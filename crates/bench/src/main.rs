//! Ottla and its peers under the same load, one after the other on the same machine, as ratios.
//!
//! `ottla-bench [SCENARIO..] [--against kafka,nisshi|none] [--rounds N] [--quick] [--json F] [--report] [--compare F]`.
//! Systems alternate within each round, so that a noisy machine shows as spread and not as a claim.

mod load;
mod process;
mod report;
mod scenario;
mod stats;
mod system;

use std::path::PathBuf;
use std::time::Instant;

use scenario::{Context, SCENARIOS, Scenario};
use stats::Results;
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
    base: PathBuf,
    /// As given, for whoever wants to repeat the run.
    arguments: String,
}

const USAGE: &str = "\
usage: cargo xtask bench [SCENARIO..] [options]
       cargo xtask bench quick [--compare FILE]   a few minutes, ratios only; FILE is an earlier run's --json

  --against kafka,nisshi|none   the peers (default kafka)
  --rounds N                    how often each system is measured (default 3)
  --json FILE                   writes every figure
  --report                      writes docs/benchmarks.md and its charts
  --dir DIR                     where data folders go (default: the temporary directory)
";

fn main() {
    if let Err(error) = start() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn parse(args: Vec<String>) -> Result<Options, String> {
    let arguments = args.join(" ");
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
        base: std::env::temp_dir(),
        arguments,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n\n{USAGE}"));
        match arg.as_str() {
            "--against" => {
                o.systems = vec![System::Ottla];
                for name in value()?.split(',').filter(|n| *n != "none") {
                    o.systems.push(
                        System::parse(name).ok_or_else(|| format!("unknown system {name}\n\n{USAGE}"))?,
                    );
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
    let nisshi = std::process::Command::new("nisshi").arg("--version").output().is_ok();
    if o.systems.contains(&System::Nisshi) && !nisshi {
        eprintln!("no nisshi on the PATH (`cargo install nisshi` brings it): leaving it out");
        o.systems.retain(|s| *s != System::Nisshi);
    }
    let free = scenario::free_bytes(&o.base);
    if free < MIN_FREE_BYTES {
        return Err(format!(
            "{}: only {} MB free, {} MB needed",
            o.base.display(),
            free >> 20,
            MIN_FREE_BYTES >> 20
        ));
    }
    let programs = Programs { ottla: o.ottla.clone(), kafka_classpath: o.kafka_classpath.clone() };
    let mut all: Vec<(&'static Scenario, Results)> =
        o.scenarios.iter().map(|s| (*s, Results::default())).collect();
    let began = Instant::now();
    let steps = o.scenarios.len() * o.systems.len() * o.rounds;
    let mut step = 0;
    for round in 1..=o.rounds {
        for (scenario, results) in &mut all {
            for system in &o.systems {
                step += 1;
                eprintln!(
                    "[{step}/{steps}, {} s] {}: {}, round {round}",
                    began.elapsed().as_secs(),
                    scenario.name,
                    system.name()
                );
                let context =
                    Context { system: *system, programs: &programs, base: o.base.clone(), quick: o.quick };
                match (scenario.run)(&context) {
                    Ok(figures) => {
                        for figure in figures {
                            eprintln!("    {}: {:.3} {}", figure.name, figure.value, figure.unit);
                            results.add(system.name(), figure);
                        }
                    }
                    // What a peer cannot do is no reason to stop; the table shows a gap.
                    Err(error) if *system != System::Ottla => eprintln!("    failed: {error}"),
                    Err(error) => return Err(format!("{}: {error}", scenario.name)),
                }
            }
        }
    }
    let systems: Vec<&str> = o.systems.iter().map(|s| s.name()).collect();
    println!("{}", report::tables(&all, &systems));
    if let Some(path) = &o.json {
        std::fs::write(path, report::json(&all, &systems)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let Some(path) = &o.compare {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}", report::compare(&all, &text)?);
    }
    if o.report {
        report::write(&all, &systems, &o.arguments, std::path::Path::new("docs"))?;
    }
    Ok(())
}
