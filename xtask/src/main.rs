//! The project's habits as commands: `cargo xtask <command>`.

mod bench;
mod codegen;
mod dist;
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
