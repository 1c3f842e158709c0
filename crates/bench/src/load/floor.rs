//! What the machine takes for the same bytes without any broker: loops that make the least system calls that a broker can do
//! with, measured in the same turn as the broker. What a broker costs beyond them is its own.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use rustix::time::{ClockId, clock_gettime};

/// Bytes that a producer's acknowledgement, a consumer's request, or the head of either takes.
const SMALL_BYTES: usize = 100;
/// Files that are open at once besides those of a loop.
const SPARE_FILES: u64 = 1_000;

/// CPU that this thread has used.
fn thread_cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.max(0) as u64, t.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(base: &Path) -> Result<Scratch, String> {
        let dir = base.join(format!("ottla-bench-floor-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Scratch(dir))
    }

    fn file(&self, name: &str) -> Result<File, String> {
        let path = self.0.join(name);
        let options = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        options.map_err(|e| format!("{}: {e}", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Both ends of a connection over loopback.
fn pair() -> Result<(TcpStream, TcpStream), String> {
    let connect = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        Ok((client, server))
    };
    connect().map_err(|e: std::io::Error| e.to_string())
}

/// Receives `bytes` from a socket and writes them to a file in `base`, `piece` at a time with one call each. CPU seconds a
/// gigabyte of the thread that does so.
pub fn received_and_written(base: &Path, bytes: u64, piece: usize) -> Result<f64, String> {
    let scratch = Scratch::new(base)?;
    let file = scratch.file("log")?;
    let (mut client, server) = pair()?;
    let pieces = (bytes / piece as u64).max(1);
    let sender = std::thread::spawn(move || {
        let bytes = vec![7u8; piece];
        (0..pieces).try_for_each(|_| client.write_all(&bytes))
    });
    let mut buffer = vec![0u8; piece];
    let began = thread_cpu();
    for i in 0..pieces {
        let (n, _) =
            rustix::net::recv(&server, &mut buffer[..], RecvFlags::WAITALL).map_err(|e| e.to_string())?;
        file.write_all_at(&buffer[..n], i * piece as u64).map_err(|e| e.to_string())?;
    }
    let used = thread_cpu().saturating_sub(began);
    sender.join().map_err(|_| "the sender panicked".to_owned())?.map_err(|e| e.to_string())?;
    Ok(used.as_secs_f64() * 1e9 / (pieces * piece as u64) as f64)
}

/// Appends `bytes` to each of `files` files in turn, `appends` times in all. CPU microseconds an append.
pub fn appended(base: &Path, files: usize, bytes: usize, appends: usize) -> Result<f64, String> {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limits.current.is_some_and(|n| n < files as u64 + SPARE_FILES) {
        return Err(format!("{files} files are more than this process may open"));
    }
    let scratch = Scratch::new(base)?;
    let logs: Result<Vec<_>, _> = (0..files).map(|i| scratch.file(&i.to_string())).collect();
    let logs = logs?;
    let batch = vec![7u8; bytes];
    let append = |i: usize| {
        let at = (i / files * bytes) as u64;
        logs[i % files].write_all_at(&batch, at).map_err(|e| e.to_string())
    };
    // The first append to a file is dearer, and no broker is measured at its first.
    (0..files).try_for_each(append)?;
    let began = thread_cpu();
    (files..files + appends).try_for_each(append)?;
    Ok((thread_cpu() - began).as_secs_f64() * 1e6 / appends.max(1) as f64)
}

/// Every `pause` a producer sends `bytes`, which are appended to a file, acknowledged and passed to a consumer, who then
/// asks for more: what a broker is woken for, in one thread that does nothing else. CPU microseconds each time.
pub fn passed_on(base: &Path, bytes: usize, pause: Duration, times: u32) -> Result<f64, String> {
    let scratch = Scratch::new(base)?;
    let file = scratch.file("log")?;
    let (mut producer, mut from_producer) = pair()?;
    let (mut consumer, mut to_consumer) = pair()?;
    let producing = std::thread::spawn(move || -> std::io::Result<()> {
        let (batch, mut answer) = (vec![7u8; bytes], [0; SMALL_BYTES]);
        let began = Instant::now();
        for i in 0..times {
            std::thread::sleep((pause * i).saturating_sub(began.elapsed()));
            producer.write_all(&batch)?;
            producer.read_exact(&mut answer)?;
        }
        Ok(())
    });
    let consuming = std::thread::spawn(move || -> std::io::Result<()> {
        let mut batch = vec![0; bytes];
        for _ in 0..times {
            consumer.read_exact(&mut batch)?;
            consumer.write_all(&[0; SMALL_BYTES])?;
        }
        Ok(())
    });
    let (mut batch, mut request) = (vec![0; bytes], [0; SMALL_BYTES]);
    let began = thread_cpu();
    let mut pass = |i: u32| -> std::io::Result<()> {
        from_producer.read_exact(&mut batch)?;
        file.write_all_at(&batch, u64::from(i) * bytes as u64)?;
        from_producer.write_all(&[0; SMALL_BYTES])?;
        to_consumer.write_all(&batch)?;
        to_consumer.read_exact(&mut request)
    };
    let passed = (0..times).try_for_each(&mut pass);
    let used = thread_cpu() - began;
    // An end that is closed lets the other threads end as well.
    drop((from_producer, to_consumer));
    for thread in [producing, consuming] {
        let ended = thread.join().map_err(|_| "a client's thread panicked".to_owned())?;
        ended.map_err(|e| e.to_string())?;
    }
    passed.map_err(|e| e.to_string())?;
    Ok(used.as_secs_f64() * 1e6 / f64::from(times.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_ends_and_has_used_something() {
        let base = std::env::temp_dir();
        assert!(received_and_written(&base, 1 << 20, 1 << 16).unwrap() > 0.0);
        assert!(appended(&base, 10, 1000, 100).unwrap() > 0.0);
        assert!(passed_on(&base, 10_000, Duration::from_micros(100), 50).unwrap() > 0.0);
    }
}
