//! `ottla server FILE [--override KEY=VALUE ...]`, as kafka-server-start.

use std::sync::Arc;

use ottla_broker::logging;
use ottla_broker::start::{self, Started};
use ottla_metadata::config::{ProviderKind, RawConfig, StaticConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub fn run(args: &[String]) -> i32 {
    let mut raw = RawConfig::new();
    let mut file = None;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let result = match arg.as_str() {
            "--override" => match rest.next() {
                Some(pair) => raw.load_override(pair),
                None => return usage("--override needs KEY=VALUE"),
            },
            "--version" => {
                println!("4.4.0 (ottla {})", env!("CARGO_PKG_VERSION"));
                return 0;
            }
            "-daemon" | "-name" | "-loggc" => {
                // Switches of Kafka's start script; a supervisor does this work here.
                if arg == "-name" {
                    rest.next();
                }
                continue;
            }
            _ if arg.starts_with("--override=") => raw.load_override(&arg["--override=".len()..]),
            _ if file.is_none() && !arg.starts_with('-') => {
                file = Some(arg);
                match std::fs::read_to_string(arg) {
                    Ok(text) => raw.load(arg, &text),
                    Err(e) => {
                        eprintln!("ottla server: cannot read {arg}: {e}");
                        return 1;
                    }
                }
            }
            _ => return usage(&format!("unexpected argument {arg}")),
        };
        if let Err(e) = result {
            eprintln!("ottla server: {e}");
            return 1;
        }
    }
    if file.is_none() {
        return usage("a server.properties is needed");
    }
    serve(&raw, |started| {
        for (name, address) in &started.listeners {
            tracing::info!("listening on {name}://{address}");
        }
        if let Some(address) = started.http {
            tracing::info!("serving /metrics, /livez and /readyz on http://{address}");
        }
        tracing::info!(
            node = started.node_id,
            cluster = started.cluster_id,
            "started (kafka.server.KafkaServer) in {} ms",
            started.startup.as_millis()
        );
    })
}

fn usage(problem: &str) -> i32 {
    eprintln!("ottla server: {problem}\nUSAGE: ottla server server.properties [--override property=value]*");
    1
}

/// Runs the node of a configuration until SIGTERM or SIGINT.
pub fn serve(raw: &RawConfig, on_started: impl FnOnce(&Started)) -> i32 {
    logging::init("info");
    let config = match StaticConfig::build(raw, &mut provided) {
        Ok(config) => Arc::new(config),
        Err(e) => {
            eprintln!("ottla server: {e}");
            return 1;
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("ottla server: {e}");
            return 1;
        }
    };
    let result = runtime.block_on(start::run(config, stop_signal(), on_started));
    runtime.shutdown_background();
    match result {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("ottla server: {e}");
            1
        }
    }
}

/// A segment takes a descriptor and a connection another: as many as the process may have.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, current = ?limit.current, maximum = ?limit.maximum, "cannot raise the limit of open files");
    }
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("stopping");
}

/// Values of `${env:..}`, `${file:..}` and `${directory:..}`; None leaves the text as it stands.
fn provided(kind: ProviderKind, path: &str, key: &str) -> Option<String> {
    let read = |file: &std::path::Path| match std::fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(e) => {
            eprintln!("ottla server: config provider: {}: {e}", file.display());
            None
        }
    };
    match kind {
        ProviderKind::Environment => std::env::var(key).ok(),
        ProviderKind::File => {
            let text = read(std::path::Path::new(path))?;
            let mut raw = RawConfig::new();
            raw.load(path, &text).map_err(|e| eprintln!("ottla server: config provider: {e}")).ok()?;
            raw.get(key).map(str::to_owned)
        }
        ProviderKind::Directory => read(&std::path::Path::new(path).join(key)),
    }
}
