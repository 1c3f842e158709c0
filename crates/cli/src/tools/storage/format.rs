//! `format`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_metadata::config::StaticConfig;
use ottla_metadata::features::MetadataVersion;
use ottla_metadata::format::{
    BOOTSTRAP_CHECKPOINT_FILE, DirectoryKind, DynamicVoter, FormatPlan, FormatRequest,
    parse_initial_controllers, parse_scram_argument, standalone_voter,
};
use ottla_metadata::record::{Record, VersionedRecord};
use ottla_storage::dirs::MetaProperties;
use ottla_storage::disk::OsDisk;

use super::arguments::FormatOptions;
use super::{Failure, directories, load_config, random_u64, random_uuid};
use crate::output::{self, Entry, Progress};

fn fail<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(text.into()))
}

/// Formats the directories of a node that are not formatted yet.
pub(super) fn format(options: &FormatOptions) -> Result<i32, Failure> {
    let config = load_config(&options.config)?;
    let plan = FormatPlan::new(request(options, &config)?)?;
    let dirs = directories(&config);
    let mut formatted: BTreeMap<&str, MetaProperties> = BTreeMap::new();
    let mut empty = Vec::new();
    for dir in &dirs {
        match read_meta(dir)? {
            Some(p) => drop(formatted.insert(dir, p)),
            None => empty.push(dir.as_str()),
        }
    }
    verify(&formatted, &options.cluster_id, config.node_id)?;
    if let (false, Some(first)) = (options.ignore_formatted, formatted.keys().next()) {
        return fail(format!(
            "Log directory {first} is already formatted. Use --ignore-formatted to ignore this directory \
             and format the others."
        ));
    }
    if empty.is_empty() {
        output::list("directories");
        output::line("All of the log directories are already formatted.");
        return Ok(0);
    }
    output::remark(format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
        plan.records.iter().map(shown).collect::<Vec<_>>().join(", "),
        plan.release.level()
    ));
    let mut progress = Progress::new("directories", Some(empty.len() as u64));
    for dir in empty {
        format_directory(dir, &config, &options.cluster_id, &plan)?;
        progress.add(1);
    }
    Ok(0)
}

fn request(options: &FormatOptions, config: &StaticConfig) -> Result<FormatRequest, Failure> {
    let release = match &options.release {
        None => None,
        Some(name) => Some(MetadataVersion::from_name(name).map_err(Failure)?),
    };
    let mut features = BTreeMap::new();
    for f in &options.features {
        let (name, level) = parse_feature(f)?;
        features.insert(name, level);
    }
    let dynamic_quorum = config.quorum_voters.is_empty();
    if !dynamic_quorum && (options.standalone || options.initial_controllers.is_some()) {
        return fail(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
             --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and \
             specify controller.quorum.bootstrap.servers instead.",
        );
    }
    let initial_controllers = match &options.initial_controllers {
        Some(text) => Some(parse_initial_controllers(text)?),
        None if options.standalone => Some(vec![standalone(config)?]),
        None => None,
    };
    let undecided = !options.no_initial_controllers
        && config.roles.controller
        && dynamic_quorum
        && initial_controllers.is_none();
    if undecided {
        return fail(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the \
             following: --standalone, --initial-controllers, or --no-initial-controllers.",
        );
    }
    let mut credentials = Vec::new();
    for argument in &options.add_scram {
        credentials.push(parse_scram_argument(argument, &mut random_u64)?);
    }
    Ok(FormatRequest { release, features, credentials, initial_controllers, dynamic_quorum })
}

fn parse_feature(text: &str) -> Result<(String, i16), Failure> {
    let Some((name, level)) = text.split_once('=') else {
        return fail(format!("Can't parse feature=level string {text}: equals sign not found."));
    };
    match level.trim().parse() {
        Ok(level) => Ok((name.trim().to_owned(), level)),
        Err(_) => fail(format!(
            "Can't parse feature=level string {text}: unable to parse {} as a short.",
            level.trim()
        )),
    }
}

fn standalone(config: &StaticConfig) -> Result<DynamicVoter, Failure> {
    if !config.roles.controller {
        return fail("You can only use --standalone on a controller.");
    }
    let Some(listener) = config.advertised_controller_listeners.first() else {
        return fail("No controller listeners found.");
    };
    Ok(standalone_voter(config.node_id, listener.host.as_deref(), listener.port, random_uuid()))
}

fn read_meta(dir: &str) -> Result<Option<MetaProperties>, Failure> {
    MetaProperties::read(&OsDisk, Path::new(dir))
        .map_err(|e| Failure(format!("Unable to read {dir}/meta.properties: {e}")))
}

fn verify(formatted: &BTreeMap<&str, MetaProperties>, cluster_id: &str, node_id: i32) -> Result<(), Failure> {
    for (dir, p) in formatted {
        if let Some(found) = p.cluster_id.as_ref().filter(|id| *id != cluster_id) {
            return fail(format!(
                "Invalid cluster.id in: {dir}/meta.properties. Expected {cluster_id}, but read {found}"
            ));
        }
        if let Some(found) = p.node_id.filter(|id| *id != node_id) {
            return fail(format!(
                "Stored node id {found} doesn't match previous node id {node_id} in {dir}/meta.properties. \
                 If you moved your data, make sure your configured node id matches. If you intend to create \
                 a new node, you should remove all data in your data directories."
            ));
        }
    }
    Ok(())
}

fn format_directory(
    dir: &str,
    config: &StaticConfig,
    cluster_id: &str,
    plan: &FormatPlan,
) -> Result<(), Failure> {
    let kind = plan.kind_of(dir, &config.metadata_log_dir, config.node_id);
    let text = format!("Formatting {} {dir} with metadata.version {}.", kind.description(), plan.release);
    let entry = Entry::new(text)
        .with("directory", dir)
        .with("kind", kind.description())
        .with("metadataVersion", plan.release.to_string());
    output::show("directories", entry);
    let cannot = |e: std::io::Error| Failure(format!("Error while formatting {dir}: {e}"));
    let path = Path::new(dir);
    fs::create_dir_all(path).map_err(cannot)?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    if kind != DirectoryKind::Log && config.roles.controller {
        let listener = config.controller_listener_names.first().map_or("", |n| n.as_str());
        let bytes = plan.checkpoint(listener, now_ms)?;
        write_checkpoint(&path.join("__cluster_metadata-0"), &bytes).map_err(cannot)?;
    }
    let directory_id = match kind {
        DirectoryKind::DynamicMetadataVoter => plan.voter_directory(config.node_id),
        _ => None,
    };
    let directory_id = directory_id.unwrap_or_else(random_uuid);
    MetaProperties::new(cluster_id, config.node_id, directory_id).write(&OsDisk, path, now_ms).map_err(cannot)
}

/// Under its temporary name first; a snapshot is never written again, so it is made read-only.
fn write_checkpoint(dir: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let name = dir.join(BOOTSTRAP_CHECKPOINT_FILE);
    let part = dir.join(format!("{BOOTSTRAP_CHECKPOINT_FILE}.part"));
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)?;
    fs::rename(&part, &name)?;
    fs::File::open(dir)?.sync_all()
}

/// A bootstrap record as Java prints it.
fn shown(r: &VersionedRecord) -> String {
    let list = |bytes: &[u8]| {
        let parts: Vec<String> = bytes.iter().map(|b| (*b as i8).to_string()).collect();
        format!("[{}]", parts.join(", "))
    };
    let text = match &r.record {
        Record::FeatureLevel(f) => {
            format!("FeatureLevelRecord(name='{}', featureLevel={})", f.name, f.feature_level)
        }
        Record::UserScramCredential(c) => format!(
            "UserScramCredentialRecord(name='{}', mechanism={}, salt={}, storedKey={}, serverKey={}, \
             iterations={})",
            c.name,
            c.mechanism,
            list(&c.salt),
            list(&c.stored_key),
            list(&c.server_key),
            c.iterations
        ),
        other => format!("{}({})", other.name(), other.to_json(r.version)),
    };
    format!("ApiMessageAndVersion({text} at version {})", r.version)
}
