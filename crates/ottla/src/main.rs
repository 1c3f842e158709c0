//! The one binary: a Kafka node, and every Kafka tool by subcommand or by the name it is called with.

mod local;
mod server;

use std::path::Path;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
ottla: Apache Kafka in one binary

  ottla                                     run a single node in ./ottla-data on 127.0.0.1:9092
  ottla server FILE [--override KEY=VALUE]  run the node that a server.properties describes
  ottla kafka-topics ...                    any Kafka tool, with Kafka's options (kafka-topics, kafka-configs,
                                            kafka-console-producer, kafka-storage, ...)
  ottla storage check DIR...                what is wrong in the data directories of a stopped node; changes nothing
  ottla help                                this text
  ottla version
";

fn main() {
    // Memory comes in pages of 4 KiB: the allocator asks for 2 MiB at a time wherever a thread needs a few kilobytes, and
    // the kernel would clear and keep all of it (11 MB for an idle node instead of 5). A kernel that cannot: as it was.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let mut args = std::env::args();
    let called_as = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    std::process::exit(dispatch(&called_as, &args));
}

/// `kafka-topics.sh` and `kafka-topics` name the same tool.
fn tool_name(path: &str) -> &str {
    let name = Path::new(path).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.strip_suffix(".sh").unwrap_or(name)
}

fn dispatch(called_as: &str, args: &[String]) -> i32 {
    let name = tool_name(called_as);
    if name == "kafka-server-start" {
        return server::run(args);
    }
    if name.starts_with("kafka-")
        && let Some(code) = ottla_cli::run(name, args)
    {
        return code;
    }
    match args.split_first() {
        None => local::run(),
        Some((command, rest)) => match tool_name(command) {
            "server" | "kafka-server-start" => server::run(rest),
            "help" | "--help" | "-h" => {
                print!("{USAGE}");
                0
            }
            "version" | "--version" => {
                println!("ottla {} (Apache Kafka 4.4.0)", env!("CARGO_PKG_VERSION"));
                0
            }
            tool => ottla_cli::run(tool, rest).unwrap_or_else(|| {
                eprintln!("ottla: there is no command '{command}'\n\n{USAGE}");
                2
            }),
        },
    }
}
