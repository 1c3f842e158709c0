//! `ottla-sim storage [--seeds N] [--seed S] [--mutation NAME] [--mutations] [--json]`; `cargo xtask sim` builds and runs it.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ottla_sim::fuzz;
use ottla_sim::storage::{self, Outcome};
use ottla_storage::mutation::Mutation;

/// Seeds within which each mutation must be caught.
const MUTATION_SEEDS: u64 = 5_000;
/// Every so many seeds are run twice, and must leave the same trace.
const TWICE_EVERY: u64 = 16;
/// Failures that are shown.
const MAX_SHOWN: usize = 20;

/// Executions of a fuzz target are short and allocate much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str =
    "usage: cargo xtask sim storage [--seeds N] [--seed S] [--mutation NAME] [--mutations] [--json]

  --seeds N        run the seeds 0..N (with --seed: S..S+N); 1000 by default
  --seed S         run one seed and tell its story
  --mutation NAME  put a known bug back, and stop at the first seed that finds it
  --mutations      do so with every known bug, 5000 seeds each, and show the table
  --json           one JSON object instead of text";

#[derive(Default)]
struct Args {
    seeds: Option<u64>,
    seed: Option<u64>,
    mutation: Option<Mutation>,
    all_mutations: bool,
    json: bool,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    if args.next().as_deref() != Some("storage") {
        return Err(USAGE.to_owned());
    }
    let mut parsed = Args::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match arg.as_str() {
            "--seeds" => parsed.seeds = Some(number(value()?)?),
            "--seed" => parsed.seed = Some(number(value()?)?),
            "--json" => parsed.json = true,
            "--mutations" => parsed.all_mutations = true,
            "--mutation" => {
                let name = value()?;
                let found = Mutation::ALL.iter().find(|mutation| mutation.name() == name);
                parsed.mutation = Some(*found.ok_or_else(|| {
                    let names: Vec<&str> = Mutation::ALL.iter().map(|mutation| mutation.name()).collect();
                    format!("no mutation {name}; there are {}", names.join(", "))
                })?);
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    if (parsed.mutation.is_some() || parsed.all_mutations) && !cfg!(feature = "mutations") {
        return Err("built without the feature `mutations`; `cargo xtask sim` turns it on".to_owned());
    }
    Ok(parsed)
}

#[cfg(feature = "mutations")]
fn put_back(mutation: Option<Mutation>) {
    ottla_storage::mutation::set(mutation);
}

#[cfg(not(feature = "mutations"))]
fn put_back(_mutation: Option<Mutation>) {}

/// What a range of seeds did together.
#[derive(Default)]
struct Total {
    seeds: u64,
    operations: u64,
    appends: u64,
    recoveries: u64,
    faults: u64,
    twice: u64,
    failures: Vec<(u64, String)>,
}

/// Runs seeds on every core, until one fails when `first_only` says so.
fn run_range(from: u64, count: u64, mutation: Option<Mutation>, first_only: bool, progress: bool) -> Total {
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Total::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                put_back(mutation);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut outcome = storage::run(seed, false);
                    let twice = mutation.is_none() && seed.is_multiple_of(TWICE_EVERY);
                    if twice && outcome.failure.is_none() {
                        let again = storage::run(seed, false);
                        if again.trace != outcome.trace {
                            let text = format!(
                                "two runs, two traces: {:016x} and {:016x}",
                                outcome.trace, again.trace
                            );
                            outcome.failure = Some(text);
                        }
                    }
                    let mut total = total.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    add(&mut total, seed, &outcome, twice);
                    if outcome.failure.is_some() && first_only {
                        stop.store(true, Ordering::Relaxed);
                    }
                    if progress && total.seeds.is_multiple_of(64) {
                        let rate = total.seeds as f64 / begun.elapsed().as_secs_f64();
                        eprint!(
                            "\r{}/{count} seeds, {rate:.0}/s, {} failed ",
                            total.seeds,
                            total.failures.len()
                        );
                        let _ = std::io::stderr().flush();
                    }
                }
            });
        }
    });
    if progress {
        eprint!("\r\x1b[K");
    }
    let mut total = total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    total.failures.sort();
    total
}

fn add(total: &mut Total, seed: u64, outcome: &Outcome, twice: bool) {
    total.seeds += 1;
    total.twice += u64::from(twice);
    total.operations += outcome.operations;
    total.appends += outcome.appends;
    total.recoveries += outcome.recoveries;
    total.faults += outcome.faults;
    if let Some(failure) = &outcome.failure {
        total.failures.push((seed, failure.clone()));
    }
}

fn tracing_level() -> tracing_subscriber::filter::LevelFilter {
    tracing_subscriber::filter::LevelFilter::WARN
}

fn one_seed(args: &Args, seed: u64) -> bool {
    put_back(args.mutation);
    if !args.json {
        // What storage itself says, between the lines of the story.
        let _ = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_max_level(tracing_level())
            .try_init();
    }
    let outcome = storage::run(seed, true);
    if args.json {
        let json = serde_json::json!({
            "seed": seed,
            "trace": format!("{:016x}", outcome.trace),
            "operations": outcome.operations,
            "appends": outcome.appends,
            "recoveries": outcome.recoveries,
            "faults": outcome.faults,
            "failure": outcome.failure,
            "story": outcome.story,
        });
        println!("{json}");
    } else {
        let verdict = outcome.failure.as_deref().unwrap_or("fine");
        println!("seed {seed}: trace {:016x}: {verdict}", outcome.trace);
    }
    outcome.failure.is_none()
}

fn many_seeds(args: &Args, progress: bool) -> bool {
    let (from, count) = (args.seed.unwrap_or(0), args.seeds.unwrap_or(1000));
    let begun = Instant::now();
    let total = run_range(from, count, args.mutation, args.mutation.is_some(), progress);
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        let failures: Vec<_> = total
            .failures
            .iter()
            .map(|(seed, failure)| serde_json::json!({ "seed": seed, "failure": failure }))
            .collect();
        let json = serde_json::json!({
            "seeds": total.seeds,
            "first": from,
            "run_twice": total.twice,
            "operations": total.operations,
            "appends": total.appends,
            "recoveries": total.recoveries,
            "faults": total.faults,
            "seconds": seconds,
            "mutation": args.mutation.map(Mutation::name),
            "failures": failures,
        });
        println!("{json}");
    } else {
        for (seed, failure) in total.failures.iter().take(MAX_SHOWN) {
            println!("seed {seed}: {failure}");
        }
        println!(
            "{} seeds in {seconds:.1} s ({} run twice, traces equal): {} appends, {} disk operations, {} recoveries, \
             {} faults, {} failures",
            total.seeds,
            total.twice,
            total.appends,
            total.operations,
            total.recoveries,
            total.faults,
            total.failures.len()
        );
        if let Some((seed, _)) = total.failures.first() {
            println!("again: cargo xtask sim storage --seed {seed}");
        }
    }
    total.failures.is_empty()
}

fn mutation_table(args: &Args, progress: bool) -> bool {
    let mut rows = Vec::new();
    let mut all_caught = true;
    for &mutation in Mutation::ALL {
        let total = run_range(0, args.seeds.unwrap_or(MUTATION_SEEDS), Some(mutation), true, progress);
        let caught = total.failures.first();
        all_caught &= caught.is_some();
        if !args.json {
            match caught {
                Some((seed, how)) => println!("{:26} seed {seed:5}  {how}", mutation.name()),
                None => println!("{:26} NOT CAUGHT in {} seeds", mutation.name(), total.seeds),
            }
        }
        rows.push(serde_json::json!({
            "mutation": mutation.name(),
            "what": mutation.what(),
            "seed": caught.map(|(seed, _)| seed),
            "failure": caught.map(|(_, failure)| failure),
        }));
    }
    if args.json {
        println!("{}", serde_json::json!({ "mutations": rows }));
    } else {
        let caught = rows.iter().filter(|row| !row["seed"].is_null()).count();
        println!("{caught} of {} mutations caught", rows.len());
    }
    all_caught
}

/// `chaos kill|power [--times N] [--seed N] --binary PATH --helper PATH`.
fn chaos(args: &[String]) -> ExitCode {
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default: u64| value(name).map_or(Some(default), |text| text.parse().ok());
    let power = match args.first().map(String::as_str) {
        Some("kill") => false,
        Some("power") => true,
        _ => {
            eprintln!("usage: cargo xtask chaos kill|power [--times N] [--seed N]");
            return ExitCode::from(2);
        }
    };
    let (Some(times), Some(seed), Some(binary), Some(helper)) = (
        number("--times", if power { 50 } else { 200 }),
        number("--seed", 1),
        value("--binary"),
        value("--helper"),
    ) else {
        eprintln!("usage: cargo xtask chaos kill|power [--times N] [--seed N]");
        return ExitCode::from(2);
    };
    let options =
        ottla_sim::chaos::Options { power, times, seed, binary: binary.into(), helper: helper.into() };
    match ottla_sim::chaos::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `durable BINARY FOLDER`: for `cargo xtask sim durable`.
fn durable(args: &[String]) -> ExitCode {
    let [binary, folder] = args else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match ottla_sim::durable::run(binary.as_ref(), folder.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `fuzz TARGET|all [--executions N] [--from N]`.
fn fuzz(args: &[String]) -> ExitCode {
    let usage = || {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        eprintln!(
            "usage: cargo xtask fuzz TARGET [--executions N] [--from N]\n\ntargets: all, {}",
            names.join(", ")
        );
        ExitCode::from(2)
    };
    let number = |name: &str, default: u64| match args.iter().position(|arg| arg == name) {
        None => Some(default),
        Some(at) => args.get(at + 1).and_then(|text| text.parse().ok()),
    };
    let (Some(name), Some(count), Some(from)) =
        (args.first(), number("--executions", 100_000), number("--from", 0))
    else {
        return usage();
    };
    let targets: Vec<_> =
        fuzz::TARGETS.iter().filter(|target| name == "all" || target.name == name).collect();
    if targets.is_empty() {
        return usage();
    }
    if count > 1 {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let terminal = std::io::stderr().is_terminal();
    for target in targets {
        let begun = Instant::now();
        let progress = |done: u64| {
            if terminal && done.is_multiple_of(256 * 64) {
                eprint!("\r{} {done}/{count} ", target.name);
            }
        };
        let found = fuzz::driver::run(target, from, count, &progress);
        if terminal {
            eprint!("\r\x1b[K");
        }
        if let Some(finding) = found {
            println!("{}: execution {}: {}", target.name, finding.execution, finding.what);
            println!("again: cargo xtask fuzz {} --executions 1 --from {}", target.name, finding.execution);
            return ExitCode::FAILURE;
        }
        println!(
            "{}: {count} executions from {from} in {:.0} s, nothing found",
            target.name,
            begun.elapsed().as_secs_f64()
        );
    }
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    if all.first().is_some_and(|first| first == "durable") {
        return durable(&all[1..]);
    }
    if all.first().is_some_and(|first| first == "chaos") {
        return chaos(&all[1..]);
    }
    if all.first().is_some_and(|first| first == "fuzz") {
        return fuzz(&all[1..]);
    }
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    // A panic is a finding like any other; it is shown with its seed.
    if args.seed.is_none() || args.seeds.is_some() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let progress = !args.json && std::io::stderr().is_terminal();
    let fine = match args.seed {
        Some(seed) if args.seeds.is_none() => one_seed(&args, seed),
        _ if args.all_mutations => mutation_table(&args, progress),
        _ => many_seeds(&args, progress),
    };
    if fine == args.mutation.is_none() || args.all_mutations && fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
