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

/// Milliseconds since the epoch, in UTC, by the letters of `SimpleDateFormat` that stand for numbers.
pub fn date_text(millis: i64, pattern: &str) -> String {
    let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let mut text = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            while let Some(quoted) = chars.next_if(|q| *q != '\'') {
                text.push(quoted);
            }
            chars.next();
            continue;
        }
        let mut width = 1;
        while chars.next_if_eq(&c).is_some() {
            width += 1;
        }
        let value = match c {
            'y' | 'u' if width == 2 => year % 100,
            'y' | 'u' => year,
            'M' => month,
            'd' => day,
            'H' => of_day / 3_600_000,
            'm' => of_day / 60_000 % 60,
            's' => of_day / 1000 % 60,
            'S' => of_day % 1000,
            other => {
                text.extend(std::iter::repeat_n(other, width));
                continue;
            }
        };
        text.push_str(&format!("{value:0width$}"));
    }
    text
}

/// Year, month and day of a day since 1970-01-01 (proleptic Gregorian).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{date_text, double_text, sort_as_hash_map};

    #[test]
    fn texts_are_those_of_java() {
        assert_eq!(date_text(1_709_210_096_007, "yyyy-MM-dd HH:mm:ss:SSS"), "2024-02-29 12:34:56:007");
        assert_eq!(date_text(-1, "yy'T'MM"), "69T12");
        assert_eq!(double_text(1_048_576.0), "1048576.0");
        assert_eq!(double_text(1e10), "1.0E10");
        assert_eq!(double_text(0.25), "0.25");
        assert_eq!(double_text(0.0001), "1.0E-4");
    }

    #[test]
    fn a_hash_map_iterates_by_bucket() {
        // The hash of a letter is its code: 'c' is in bucket 3 of 16, 'q' and 'a' share bucket 1.
        let mut keys = vec!["c", "q", "a"];
        sort_as_hash_map(&mut keys, 16, |k| k);
        assert_eq!(keys, ["q", "a", "c"]);
        // A table for two has to grow to four for two.
        let mut keys = vec!["c", "b"];
        sort_as_hash_map(&mut keys, 2, |k| k);
        assert_eq!(keys, ["b", "c"]);
    }
}
