//! The project's habits as commands: `cargo xtask <command>`.

mod bench;
mod codegen;
mod dist;
mod java;
mod sim;
mod smoke;
mod test;
mod tidy;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("codegen") => codegen::run(args.iter().any(|a| a == "--check")),
        Some("tidy") => tidy::run(),
        Some("bench") => bench::run(&args[1..]),
        Some("dist") => dist::run(),
        Some("sim") => sim::run(&args[1..]),
        Some("fuzz") => sim::fuzz(&args[1..]),
        Some("chaos") => sim::chaos(&args[1..]),
        Some("shutdown-file-system") => sim::shutdown_file_system(args.get(1).map_or("", |path| path)),
        Some("test") => test::run(),
        Some("smoke") => smoke::run(&smoke::root().join("target/debug/ottla")),
        _ => {
            eprintln!(
                "usage: cargo xtask COMMAND\n\n  \
                 codegen [--check]  write crates/protocol/src/messages from the schemas\n  \
                 tidy               check the rules of the house\n  \
                 test               all of the below and every test; what CI runs\n  \
                 smoke              a node of the debug build against kcat and Kafka's Java tools\n  \
                 sim storage [--seeds N] [--seed S] [--mutation NAME] [--mutations] [--json]  simulated faults\n  \
                 sim durable        how fast durable acknowledgements are\n  \
                 fuzz TARGET|all [--executions N]  any bytes as any file of storage\n  \
                 chaos kill|power [--times N]  a node killed, or its disk cut off, under load\n  \
                 bench [--rounds N] [--against none] [--report]  this build beside Apache Kafka\n  \
                 dist               build a release and lay out dist/{{bin,config}}"
            );
            return std::process::ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}
