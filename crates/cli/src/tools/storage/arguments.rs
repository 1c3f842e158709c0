//! The tool's command line.

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Info { config: String },
    Format(FormatOptions),
    VersionMapping { release: Option<String> },
    FeatureDependencies { features: Vec<String> },
    RandomUuid,
}

/// Options of `format`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FormatOptions {
    pub(super) config: String,
    pub(super) cluster_id: String,
    pub(super) add_scram: Vec<String>,
    pub(super) ignore_formatted: bool,
    pub(super) release: Option<String>,
    pub(super) features: Vec<String>,
    pub(super) standalone: bool,
    pub(super) no_initial_controllers: bool,
    pub(super) initial_controllers: Option<String>,
}

/// Why there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The user asked for help: not an error.
    Help(String),
    Usage(String),
}

const COMMANDS: &str = "info,format,version-mapping,feature-dependencies,random-uuid";

const USAGE: &str = "usage: kafka-storage [-h]
                     {info,format,version-mapping,feature-dependencies,random-uuid}
                     ...";

const HELP: &str = "
The Kafka storage tool.

positional arguments:
  {info,format,version-mapping,feature-dependencies,random-uuid}
    info                 Get information about  the  Kafka  log directories
                         on this node.
    format               Format the Kafka log directories on this node.
    version-mapping      Look up the  corresponding  features  for  a given
                         metadata version. Using  the  command  with  no --
                         release-version  argument will  return the mapping
                         for the latest stable metadata version
    feature-dependencies
                         Look up dependencies for  a given feature version.
                         If the feature is  not  known  or  the version not
                         yet  defined,  an   error   is   thrown.  Multiple
                         features can be specified.
    random-uuid          Print a random UUID.

optional arguments:
  -h, --help             show this help message and exit
  --output {text,json}   Kafka's text, or one JSON object";

const FORMAT_USAGE: &str = "usage: kafka-storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
                     [--add-scram ADD_SCRAM] [--ignore-formatted]
                     [--release-version RELEASE_VERSION]
                     [--feature FEATURE] [--standalone |
                     --no-initial-controllers |
                     --initial-controllers INITIAL_CONTROLLERS]";

/// An option: its long and short name, and whether a value follows.
struct Opt {
    long: &'static str,
    short: &'static str,
    has_value: bool,
}

const fn opt(long: &'static str, short: &'static str, has_value: bool) -> Opt {
    Opt { long, short, has_value }
}

const CONFIG: Opt = opt("--config", "-c", true);
const RELEASE: Opt = opt("--release-version", "-r", true);
const FEATURE: Opt = opt("--feature", "-f", true);
const FORMAT_OPTIONS: &[Opt] = &[
    CONFIG,
    RELEASE,
    FEATURE,
    opt("--cluster-id", "-t", true),
    opt("--add-scram", "-S", true),
    opt("--ignore-formatted", "-g", false),
    opt("--standalone", "-s", false),
    opt("--no-initial-controllers", "-N", false),
    opt("--initial-controllers", "-I", true),
];

fn usage_of(command: &str) -> String {
    match command {
        "format" => FORMAT_USAGE.to_owned(),
        "info" => "usage: kafka-storage info [-h] --config CONFIG".to_owned(),
        "version-mapping" => {
            "usage: kafka-storage version-mapping [-h] [--release-version RELEASE_VERSION]".to_owned()
        }
        "feature-dependencies" => {
            "usage: kafka-storage feature-dependencies [-h] --feature FEATURE".to_owned()
        }
        _ => format!("usage: kafka-storage {command} [-h]"),
    }
}

fn refuse<T>(usage: &str, text: &str) -> Result<T, Refusal> {
    Err(Refusal::Usage(format!("{usage}\nkafka-storage: error: {text}")))
}

/// The options of a command with their values, in order.
fn options(
    command: &str,
    allowed: &'static [Opt],
    args: &[String],
) -> Result<Vec<(&'static str, String)>, Refusal> {
    let usage = usage_of(command);
    let mut out = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "-h" || arg == "--help" {
            return Err(Refusal::Help(usage));
        }
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if arg.starts_with("--") => (name, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        // A short option may have its value attached.
        let found = allowed.iter().find_map(|o| {
            if name == o.long || arg == o.short {
                return Some((o, inline.clone()));
            }
            let attached = arg.strip_prefix(o.short).filter(|_| !arg.starts_with("--"))?;
            o.has_value.then(|| (o, Some(attached.to_owned())))
        });
        let Some((option, inline)) = found else {
            return refuse(&usage, &format!("unrecognized arguments: '{arg}'"));
        };
        let value = match (option.has_value, inline) {
            (false, None) => String::new(),
            (false, Some(_)) => {
                let text = format!("argument {}/{}: ignored explicit argument", option.long, option.short);
                return refuse(&usage, &text);
            }
            (true, Some(value)) => value,
            (true, None) => match rest.next() {
                Some(value) => value.clone(),
                None => {
                    let text = format!("argument {}/{}: expected one argument", option.long, option.short);
                    return refuse(&usage, &text);
                }
            },
        };
        out.push((option.long, value));
    }
    Ok(out)
}

fn last(options: &[(&str, String)], name: &str) -> Option<String> {
    options.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.clone())
}

fn all(options: &[(&str, String)], name: &str) -> Vec<String> {
    options.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect()
}

fn required(command: &str, options: &[(&str, String)], name: &str, short: &str) -> Result<String, Refusal> {
    match last(options, name) {
        Some(value) => Ok(value),
        None => refuse(&usage_of(command), &format!("argument {name}/{short} is required")),
    }
}

/// Parses the arguments after the tool's name.
pub(super) fn parse(args: &[String]) -> Result<Command, Refusal> {
    let Some((command, rest)) = args.split_first() else {
        return refuse(USAGE, "too few arguments");
    };
    match command.as_str() {
        "-h" | "--help" => Err(Refusal::Help(format!("{USAGE}\n{HELP}"))),
        "info" => {
            const OPTIONS: &[Opt] = &[CONFIG];
            let o = options(command, OPTIONS, rest)?;
            let config = required(command, &o, "--config", "-c")?;
            Ok(Command::Info { config })
        }
        "version-mapping" => {
            const OPTIONS: &[Opt] = &[RELEASE];
            let o = options(command, OPTIONS, rest)?;
            let release = last(&o, "--release-version");
            Ok(Command::VersionMapping { release })
        }
        "feature-dependencies" => {
            const OPTIONS: &[Opt] = &[FEATURE];
            let o = options(command, OPTIONS, rest)?;
            required(command, &o, "--feature", "-f")?;
            let features = all(&o, "--feature");
            Ok(Command::FeatureDependencies { features })
        }
        "random-uuid" => {
            options(command, &[], rest)?;
            Ok(Command::RandomUuid)
        }
        "format" => parse_format(rest).map(Command::Format),
        other => refuse(
            USAGE,
            &format!("invalid choice: '{other}' (choose from '{}')", COMMANDS.replace(',', "', '")),
        ),
    }
}

fn parse_format(args: &[String]) -> Result<FormatOptions, Refusal> {
    let o = options("format", FORMAT_OPTIONS, args)?;
    let has = |name: &str| o.iter().any(|(n, _)| *n == name);
    let exclusive: Vec<&str> = ["--standalone", "--no-initial-controllers", "--initial-controllers"]
        .into_iter()
        .filter(|n| has(n))
        .collect();
    if let [first, second, ..] = exclusive.as_slice() {
        let text = format!("argument {second}: not allowed with argument {first}");
        return refuse(FORMAT_USAGE, &text);
    }
    Ok(FormatOptions {
        config: required("format", &o, "--config", "-c")?,
        cluster_id: required("format", &o, "--cluster-id", "-t")?,
        add_scram: all(&o, "--add-scram"),
        ignore_formatted: has("--ignore-formatted"),
        release: last(&o, "--release-version"),
        features: all(&o, "--feature"),
        standalone: has("--standalone"),
        no_initial_controllers: has("--no-initial-controllers"),
        initial_controllers: last(&o, "--initial-controllers"),
    })
}
