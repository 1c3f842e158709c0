//! `cargo xtask sim`, `fuzz` and `chaos`: build the simulations and run them.

use std::path::PathBuf;
use std::process::Command;

use crate::smoke::root;

/// The profile is fast and keeps the checks of a debug build. The feature that puts bugs back is compiled into a target
/// folder of its own, so that no other build can pick it up.
fn simulation(features: &[&str], args: &[String]) -> Result<(), String> {
    let target = root().join("target/simulation");
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["run", "--quiet", "--profile", "sim", "-p", "ottla-sim", "--target-dir"])
        .arg(&target)
        .args(features)
        .arg("--")
        .args(args)
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", args.join(" "))) }
}

/// `sim storage ...`; `sim durable` measures durable acknowledgements of a release build.
pub fn run(args: &[String]) -> Result<(), String> {
    if args.first().is_none_or(|first| first != "durable") {
        return simulation(&["--features", "mutations"], args);
    }
    let folder = root().join("target/durable");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let words =
        ["durable".to_owned(), binary("release")?.display().to_string(), folder.display().to_string()];
    simulation(&[], &words)
}

/// `fuzz TARGET|all [--executions N] [--from N]`.
pub fn fuzz(args: &[String]) -> Result<(), String> {
    let mut words = vec!["fuzz".to_owned()];
    words.extend_from_slice(args);
    simulation(&[], &words)
}

/// `chaos kill|power [--times N]`: a node, killed or cut off from its disk under load.
pub fn chaos(args: &[String]) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut words = vec!["chaos".to_owned()];
    words.extend_from_slice(args);
    words.extend(["--binary".to_owned(), binary("sim")?.display().to_string()]);
    words.extend(["--helper".to_owned(), this.display().to_string()]);
    simulation(&[], &words)
}

/// The node: a release build to be measured, or one with the checks of a debug build to be tortured.
fn binary(profile: &str) -> Result<PathBuf, String> {
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--profile", profile, "--quiet", "-p", "ottla"])
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    let path = root().join("target").join(profile).join("ottla");
    if status.success() {
        path.canonicalize().map_err(|e| e.to_string())
    } else {
        Err("the build failed".into())
    }
}

/// Cuts a mounted file system off from its device, without writing its journal: what a power cut does to it. Called by
/// `chaos power` as `xtask shutdown-file-system PATH`.
pub fn shutdown_file_system(path: &str) -> Result<(), String> {
    use std::os::fd::AsRawFd;
    /// `FS_IOC_SHUTDOWN`, which ext4 and xfs have alike.
    const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
    const NO_LOG_FLUSH: u32 = 2;
    let dir = std::fs::File::open(path).map_err(|e| format!("{path}: {e}"))?;
    // SAFETY: the descriptor is open for the whole call, and the argument a number that outlives it.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_SHUTDOWN, &NO_LOG_FLUSH) };
    if result == 0 { Ok(()) } else { Err(format!("{path}: {}", std::io::Error::last_os_error())) }
}
