//! What the simulated disk keeps and what it forgets.

use std::path::Path;

use super::*;

fn read(disk: &mut SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.files(Path::new(path)).first().map(|(_, bytes)| bytes.to_vec())
}

#[test]
fn what_was_synced_outlives_a_power_cut_and_the_rest_does_not() {
    let mut disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("/d")).expect("makes");
    disk.sync_dir(Path::new("/")).expect("syncs");
    let file = disk.open(Path::new("/d/a"), true).expect("opens");
    disk.write(file, b"one", 0).expect("writes");
    disk.sync(file).expect("syncs");
    disk.cut_power(CrashMode::LoseAll);
    assert_eq!(read(&mut disk, "/d/a"), None, "the entry was not synced");
    assert_eq!(disk.write(file, b"x", 0), Err(SimError::Down), "the handle is stale");

    let file = disk.open(Path::new("/d/a"), true).expect("opens");
    disk.write(file, b"one", 0).expect("writes");
    disk.sync(file).expect("syncs");
    disk.sync_dir(Path::new("/d")).expect("syncs");
    disk.write(file, b"two", 3).expect("writes");
    disk.kill_process();
    assert_eq!(read(&mut disk, "/d/a").as_deref(), Some(&b"onetwo"[..]), "a process that dies loses nothing");
    disk.cut_power(CrashMode::LoseAll);
    assert_eq!(read(&mut disk, "/d/a").as_deref(), Some(&b"one"[..]));
    disk.rename(Path::new("/d/a"), Path::new("/d/b")).expect("renames");
    disk.cut_power(CrashMode::LoseAll);
    assert_eq!(read(&mut disk, "/d/b"), None);
    assert_eq!(read(&mut disk, "/d/a").as_deref(), Some(&b"one"[..]));
}

#[test]
fn a_failed_sync_loses_what_was_pending_for_good() {
    let lost = (0..20).any(|seed| {
        let mut disk = SimDisk::new(seed);
        let file = disk.open(Path::new("/a"), true).expect("opens");
        disk.sync_dir(Path::new("/")).expect("syncs");
        disk.write(file, b"x", 0).expect("writes");
        disk.inject(Fault::Error { dir: "/".into(), kind: Some(FaultKind::Sync), after: 0 });
        assert_eq!(disk.sync(file), Err(SimError::Io));
        disk.sync(file).expect("the second one succeeds");
        disk.cut_power(CrashMode::KeepAll);
        read(&mut disk, "/a").as_deref() == Some(b"")
    });
    assert!(lost);
}

#[test]
fn writes_tear_at_sectors() {
    let torn = (0..200).any(|seed| {
        let mut disk = SimDisk::new(seed);
        let file = disk.open(Path::new("/a"), true).expect("opens");
        disk.sync_dir(Path::new("/")).expect("syncs");
        disk.write(file, &[1; 3 * SECTOR], 0).expect("writes");
        disk.cut_power(CrashMode::Subset);
        let content = read(&mut disk, "/a").expect("is there");
        assert!(content.chunks(SECTOR).all(|s| s.iter().all(|b| *b == s[0])), "sectors are whole");
        content.len() == 3 * SECTOR && content[0] != content[SECTOR]
    });
    assert!(torn);
}

#[test]
fn faults_strike_where_and_when_they_should() {
    let mut disk = SimDisk::new(3);
    disk.create_dir_all(Path::new("/x")).expect("makes");
    disk.create_dir_all(Path::new("/y")).expect("makes");
    disk.inject(Fault::Dead { dir: "/x".into(), after: 1 });
    disk.open(Path::new("/x/a"), true).expect("the first works");
    assert_eq!(disk.open(Path::new("/x/b"), true), Err(SimError::Io));
    let file = disk.open(Path::new("/y/b"), true).expect("elsewhere works");
    disk.set_full(true);
    assert_eq!(disk.write(file, b"abc", 0), Err(SimError::NoSpace));
    disk.set_full(false);
    disk.inject(Fault::Crash { after: 0 });
    assert_eq!(disk.sync(file), Err(SimError::Down));
    assert!(disk.is_down());
    assert_eq!(disk.metadata(Path::new("/y")), Err(SimError::Down));
    disk.cut_power(CrashMode::Prefix);
    assert!(!disk.is_down());
}
