//! The tools by themselves: `ottla_tools kafka-topics --list ...`.

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(tool) = args.next() else {
        eprintln!("usage: ottla_tools TOOL [arguments]");
        std::process::exit(1);
    };
    let args: Vec<String> = args.collect();
    match ottla_cli::run(&tool, &args) {
        Some(code) => std::process::exit(code),
        None => {
            eprintln!("no such tool: {tool}");
            std::process::exit(1);
        }
    }
}
