//! `meta.properties`: whose directory this is.
//!
//! Source: Kafka `MetaProperties`, `MetaPropertiesVersion`; KIP-858 (directory ids).

use std::fmt::Write;
use std::io;
use std::path::Path;

use ottla_protocol::types::Uuid;
use thiserror::Error;

use crate::disk::Disk;
use crate::error::CorruptFile;

/// Name of the file in a log directory.
pub const META_PROPERTIES_FILE: &str = "meta.properties";
const MAX_BYTES: u64 = 64 * 1024;

/// Why a `meta.properties` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetaPropertiesError {
    /// The file is no text.
    #[error("meta.properties is not text")]
    NotText,
    /// The version is missing or is neither 0 nor 1.
    #[error("unknown version in meta.properties: {version}")]
    UnknownVersion {
        /// What stands there.
        version: String,
    },
    /// A property is missing or no value of its type.
    #[error("invalid or missing value for {key} in meta.properties")]
    Invalid {
        /// The property.
        key: &'static str,
    },
}

/// The content of `meta.properties`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetaProperties {
    /// 0 for directories of old nodes, 1 since KRaft.
    pub version: i32,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The node's id; `broker.id` in version 0.
    pub node_id: Option<i32>,
    /// The directory's id.
    pub directory_id: Option<Uuid>,
    /// Everything else that stands there, kept as it is.
    pub other: Vec<(String, String)>,
}

impl MetaProperties {
    /// The properties of a new directory.
    pub fn new(cluster_id: impl Into<String>, node_id: i32, directory_id: Uuid) -> Self {
        MetaProperties {
            version: 1,
            cluster_id: Some(cluster_id.into()),
            node_id: Some(node_id),
            directory_id: Some(directory_id),
            other: Vec::new(),
        }
    }

    /// Parses the file.
    ///
    /// # Errors
    /// [`MetaPropertiesError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MetaPropertiesError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MetaPropertiesError::NotText)?;
        let mut properties = MetaProperties::default();
        let mut version = String::new();
        let mut broker_id = None;
        for line in text.lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
            let (key, value) = (key.trim(), unescape(value.trim()));
            match key {
                "version" => version = value,
                "cluster.id" => properties.cluster_id = Some(value),
                "node.id" => {
                    let id = value.parse().map_err(|_| MetaPropertiesError::Invalid { key: "node.id" })?;
                    properties.node_id = Some(id);
                }
                "broker.id" => {
                    let id = value.parse().map_err(|_| MetaPropertiesError::Invalid { key: "broker.id" })?;
                    broker_id = Some(id);
                }
                "directory.id" => {
                    let id =
                        value.parse().map_err(|_| MetaPropertiesError::Invalid { key: "directory.id" })?;
                    properties.directory_id = Some(id);
                }
                _ => properties.other.push((key.to_owned(), value)),
            }
        }
        properties.version = match version.as_str() {
            "0" => 0,
            "1" => 1,
            _ => return Err(MetaPropertiesError::UnknownVersion { version }),
        };
        if properties.version == 0 {
            properties.node_id = properties.node_id.or(broker_id);
        } else if properties.cluster_id.is_none() {
            return Err(MetaPropertiesError::Invalid { key: "cluster.id" });
        } else if properties.node_id.is_none() {
            return Err(MetaPropertiesError::Invalid { key: "node.id" });
        }
        Ok(properties)
    }

    /// The text of the file. `date` is the second line's comment, as `java.util.Properties` writes it.
    pub fn render(&self, date: &str) -> String {
        let mut text = format!("#\n#{date}\n");
        let id_key = if self.version == 0 { "broker.id" } else { "node.id" };
        if let Some(id) = self.node_id {
            let _ = writeln!(text, "{id_key}={id}");
        }
        if let Some(id) = self.directory_id {
            let _ = writeln!(text, "directory.id={id}");
        }
        let _ = writeln!(text, "version={}", self.version);
        if let Some(id) = &self.cluster_id {
            let _ = writeln!(text, "cluster.id={}", escape(id));
        }
        for (key, value) in &self.other {
            let _ = writeln!(text, "{key}={}", escape(value));
        }
        text
    }

    /// Reads the file of a log directory; none when there is none.
    ///
    /// # Errors
    /// The disk; [`io::ErrorKind::InvalidData`] with a [`MetaPropertiesError`].
    pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        match disk.read(&dir.join(META_PROPERTIES_FILE), MAX_BYTES)? {
            Some(bytes) => Self::parse(&bytes)
                .map(Some)
                .map_err(|error| CorruptFile::error(&dir.join(META_PROPERTIES_FILE), None, error)),
            None => Ok(None),
        }
    }

    /// Writes the file, durably. `now_ms` dates it.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, disk: &dyn Disk, dir: &Path, now_ms: i64) -> io::Result<()> {
        disk.write_atomic(&dir.join(META_PROPERTIES_FILE), self.render(&java_date(now_ms)).as_bytes())
    }
}

fn escape(value: &str) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '\\' | '=' | ':' | '#' | '!') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

fn unescape(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

/// `java.util.Date.toString` in UTC.
fn java_date(now_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now_ms.div_euclid(1000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from days since the epoch: eras of 400 years that start in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 2 } else { month - 10 };
    let year = year_of_era + era * 400 + i64::from(month < 2);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_kafka_is_read_and_written_alike() {
        let text = "#\n#Sun Nov 22 04:27:03 UTC 2026\nnode.id=1\ndirectory.id=1TJk90aHPgGnQUkjwWfhHQ\nversion=1\n\
                    cluster.id=b3R0bGEtb3JhY2xlLS0tLQ\n";
        let properties = MetaProperties::parse(text.as_bytes()).expect("parses");
        assert_eq!(properties.node_id, Some(1));
        assert_eq!(properties.render(&java_date(1_795_321_623_000)), text);
        assert_eq!(java_date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
        assert!(MetaProperties::parse(b"version=2\n").is_err());
        assert!(MetaProperties::parse(b"version=1\nnode.id=1\n").is_err());
        let old = MetaProperties::parse(b"version=0\nbroker.id=7\n").expect("parses");
        assert_eq!((old.version, old.node_id), (0, Some(7)));
    }
}
