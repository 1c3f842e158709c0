//! The little of OpenTelemetry's protobuf that is needed to read numbers out of a push: names and last values.

/// One number of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct DataPoint {
    pub name: String,
    pub value: f64,
}

/// Nesting and points beyond which a message is not followed.
const MAX_POINTS: usize = 10_000;

struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.take(8)?.try_into().ok()?),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

fn messages(bytes: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    Fields(bytes).filter_map(move |(n, v)| match v {
        Value::Bytes(b) if n == field => Some(b),
        _ => None,
    })
}

/// Names and values of all gauges and sums in a `MetricsData` message; what is malformed is left out.
pub fn decode_metrics(payload: &[u8]) -> Vec<DataPoint> {
    let mut out = Vec::new();
    for resource in messages(payload, 1) {
        for scope in messages(resource, 2) {
            for metric in messages(scope, 2) {
                if out.len() >= MAX_POINTS {
                    return out;
                }
                let name = messages(metric, 1).next().map(|n| String::from_utf8_lossy(n).into_owned());
                let Some(name) = name.filter(|n| !n.is_empty() && n.len() <= 256) else { continue };
                // 5 is a gauge, 7 a sum; both hold their points in field 1.
                let data = messages(metric, 5).chain(messages(metric, 7));
                out.extend(
                    data.flat_map(|d| messages(d, 1))
                        .filter_map(number)
                        .map(|value| DataPoint { name: name.clone(), value }),
                );
            }
        }
    }
    out
}

/// `as_double` (4) or `as_int` (6) of a NumberDataPoint.
fn number(point: &[u8]) -> Option<f64> {
    Fields(point).find_map(|(n, v)| match (n, v) {
        (4, Value::Fixed64(b)) => Some(f64::from_le_bytes(b)),
        (6, Value::Fixed64(b)) => Some(i64::from_le_bytes(b) as f64),
        (6, Value::Varint(v)) => Some(v as f64),
        (_, Value::Fixed32) => None,
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(n: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![n << 3 | 2, body.len() as u8];
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn gauges_and_sums_are_found_and_damage_is_left_out() {
        let mut point = vec![4 << 3 | 1];
        point.extend_from_slice(&2.5f64.to_le_bytes());
        let gauge = field(5, &field(1, &point));
        let metric = [field(1, b"m"), gauge].concat();
        let payload = field(1, &field(2, &field(2, &metric)));
        assert_eq!(decode_metrics(&payload), [DataPoint { name: "m".into(), value: 2.5 }]);
        for cut in 0..payload.len() {
            let _ = decode_metrics(&payload[..cut]);
        }
        for i in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[i] ^= 0xff;
            let _ = decode_metrics(&damaged);
        }
    }
}
