//! The order in which Java's `HashMap` hands out strings, where Kafka's tools print in that order.

use ottla_protocol::java::string_hash;

/// Sorts as a `HashMap<String, _>` made for `capacity` entries iterates after all keys were put in this order.
pub fn sort_as_hash_map<T>(items: &mut [T], capacity: usize, key: impl Fn(&T) -> &str) {
    let mut table = capacity.max(1).next_power_of_two();
    while items.len() * 4 > table * 3 {
        table *= 2;
    }
    let mask = table as u32 - 1;
    // A stable sort keeps the order of arrival within a bucket.
    items.sort_by_key(|item| {
        let hash = string_hash(key(item)) as u32;
        (hash ^ (hash >> 16)) & mask
    });
}

/// A double as Java's `Double.toString` gives it for the values that configurations have.
pub fn double_text(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e7 {
        return format!("{value:.1}");
    }
    let magnitude = value.abs();
    if (1e-3..1e7).contains(&magnitude) {
        return format!("{value}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}
