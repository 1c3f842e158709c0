//! Command lines as Kafka's tools read them: joptsimple's rules, and argparse4j's for tools with sub-commands.

mod parsed;
mod parser;

pub use parsed::Parsed;
pub use parser::{Parser, Style};
