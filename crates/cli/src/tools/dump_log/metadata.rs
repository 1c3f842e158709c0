//! Records of `__cluster_metadata`, and the frame that they share with remote log metadata.

use bytes::Bytes;
use ottla_protocol::messages::registry::MESSAGES;
use ottla_protocol::wire::Reader;

const FRAME_VERSION: i16 = 1;

/// A record without its frame: type, version, message.
pub fn unframe(value: &[u8]) -> Result<(i16, i16, Bytes), String> {
    let mut r = Reader::new(Bytes::copy_from_slice(value));
    let mut short = |name: &str| -> Result<i16, String> {
        let value = r.unsigned_varint().map_err(|_| format!("Error while reading {name}"))?;
        i16::try_from(value).map_err(|_| format!("Value for {name} was too large."))
    };
    match short("frame version")? {
        FRAME_VERSION => {}
        0 => {
            return Err(
                "Could not deserialize metadata record with frame version 0. Note that upgrades from \
                        the preview release of KRaft in 2.8 to newer versions are not supported."
                    .to_owned(),
            );
        }
        other => {
            return Err(format!(
                "Could not deserialize metadata record due to unknown frame version {other}(only frame \
                 version {FRAME_VERSION} is supported)"
            ));
        }
    }
    let (kind, version) = (short("type")?, short("version")?);
    Ok((kind, version, r.take_rest()))
}

/// `FeatureLevelRecord` as `FEATURE_LEVEL_RECORD`.
fn type_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, c) in name.chars().enumerate() {
        if at > 0 && c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// A metadata record as JSON.
pub fn decode(value: &[u8]) -> Result<String, String> {
    let (kind, version, body) = unframe(value)?;
    let info = MESSAGES
        .iter()
        .find(|m| m.kind == "metadata-record" && m.key == kind)
        .ok_or_else(|| format!("Unknown metadata id {kind}"))?;
    let json =
        (info.json)(body, version).map_err(|_| format!("Failed to deserialize record with type {kind}"))?;
    Ok(format!(r#"{{"type":"{}","version":{version},"data":{json}}}"#, type_name(info.name)))
}
