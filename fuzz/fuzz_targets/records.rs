//! Any bytes as a metadata record, or as key and value of a coordinator's record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_coordinator::group::GroupRecord;
use ottla_coordinator::transaction::TxnRecord;
use ottla_metadata::record::VersionedRecord;

fuzz_target!(|data: &[u8]| {
    let _ = VersionedRecord::decode(data);
    let Some((at, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at((*at as usize).min(rest.len()));
    let _ = GroupRecord::decode(key, Some(value));
    let _ = GroupRecord::decode(key, None);
    let _ = TxnRecord::decode(key, Some(value));
});
