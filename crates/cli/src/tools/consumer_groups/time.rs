//! Points in time and durations as Kafka's tools read them. Source: `Utils.getDateTime`, `java.time.Duration`.

const DAY_MS: i64 = 86_400_000;

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// `yyyy-MM-ddTHH:mm:ss[.SSS][zone]` in milliseconds since the epoch; without a zone it is UTC.
///
/// # Errors
/// A text that is no such time.
pub fn parse_datetime(text: &str) -> Result<i64, String> {
    let Some((date, time)) = text.split_once('T') else {
        return Err(
            "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".to_owned()
        );
    };
    datetime(date, time).ok_or_else(|| format!("Unparseable date: \"{text}\""))
}

fn datetime(date: &str, time: &str) -> Option<i64> {
    let mut parts = date.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some()
        || !(1..=12).contains(&month)
        || !(1..=days_of_month(year, month)).contains(&day)
    {
        return None;
    }
    let at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = (time.get(..at)?, time.get(at..)?);
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let millis = fraction.map_or(Some(0), number)?;
    let mut parts = clock.split(':').map(number);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 59 || millis > 999 {
        return None;
    }
    let of_day = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis;
    Some(days(year, month, day) * DAY_MS + of_day - zone_ms(zone)?)
}

fn zone_ms(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits)?, 0),
        4 => (number(digits.get(..2)?)?, number(digits.get(2..)?)?),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

/// `PnDTnHnMn.nS`, any part of which may be missing or negative, in milliseconds.
///
/// # Errors
/// A text that is no duration.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    duration(&text.to_ascii_uppercase()).ok_or_else(|| "Text cannot be parsed to a Duration".to_owned())
}

fn duration(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = 0i64;
    if !date.is_empty() {
        total = scaled(date.strip_suffix('D')?, DAY_MS)?;
    }
    let mut left = time;
    for (unit, ms) in [('H', 3_600_000), ('M', 60_000), ('S', 1000)] {
        if let Some((value, rest)) = left.split_once(unit) {
            let part = if unit == 'S' { seconds_ms(value)? } else { scaled(value, ms)? };
            total = total.checked_add(part)?;
            left = rest;
        }
    }
    left.is_empty().then_some(())?;
    total.checked_mul(sign)
}

fn scaled(value: &str, ms: i64) -> Option<i64> {
    value.parse::<i64>().ok()?.checked_mul(ms)
}

fn seconds_ms(value: &str) -> Option<i64> {
    let (whole, fraction) = value.split_once(['.', ',']).unwrap_or((value, ""));
    let negative = whole.starts_with('-');
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let millis = number(&millis)?;
    let whole = if whole.is_empty() || whole == "-" { 0 } else { whole.parse::<i64>().ok()? };
    whole.checked_mul(1000)?.checked_add(if negative { -millis } else { millis })
}
