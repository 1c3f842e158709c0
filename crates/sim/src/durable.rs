//! How fast durable acknowledgements are: one request in flight, several, and many connections.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::load::{self, Rate};
use crate::node::Node;

const TIME: Duration = Duration::from_secs(5);
const VALUE_BYTES: usize = 1000;

/// Measures and prints a table. The data is in `folder`, on the file system that matters.
///
/// # Errors
/// The node, or a connection.
pub fn run(binary: &Path, folder: &Path) -> io::Result<()> {
    let mut node = Node::format(binary, folder, &folder.join("data"), "")?;
    node.start()?;
    node.create_topic("durable", 1, "flush.messages=1")?;
    node.create_topic("durable8", 8, "flush.messages=1")?;
    node.create_topic("fast", 1, "")?;
    let mut base: Option<Rate> = None;
    for (topic, partitions, connections, depth) in [
        ("durable", 1, 1, 1),
        ("durable", 1, 1, 5),
        ("durable", 1, 64, 1),
        ("durable", 1, 64, 5),
        ("durable8", 8, 64, 1),
        ("fast", 1, 1, 1),
        ("fast", 1, 1, 5),
    ] {
        let rate = load::measure(&node.address, topic, partitions, connections, depth, VALUE_BYTES, TIME)?;
        let first = *base.get_or_insert(rate);
        println!(
            "{topic:9} {partitions} partitions {connections:3} connections {depth} in flight: {:8.0} acknowledged requests/s, x{:.1}",
            rate.per_second(),
            rate.per_second() / first.per_second()
        );
    }
    node.kill()
}
