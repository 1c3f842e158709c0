//! What only Linux tells and does: reads that do not wait, reads that leave nothing behind, what is in the page cache.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

/// Distance of the bytes that are probed where the kernel cannot count pages (before Linux 6.5): pages come and go in
/// such runs.
const PROBE_BYTES: u64 = 128 * 1024;

/// The number of `cachestat`, the same on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`.
#[repr(C)]
struct Range {
    off: u64,
    len: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct CacheStat {
    nr_cache: u64,
    nr_dirty: u64,
    nr_writeback: u64,
    nr_evicted: u64,
    nr_recently_evicted: u64,
}

/// `preadv2` with flags. A kernel or file system that does not know them says [`io::ErrorKind::Unsupported`].
pub(super) fn pread_with(
    file: &File,
    buffer: &mut [u8],
    position: u64,
    flags: libc::c_int,
) -> io::Result<usize> {
    let iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    loop {
        // SAFETY: the descriptor is open and `buffer` borrowed for the whole call, and `iov` describes exactly `buffer`.
        // Exercised by the tests of `reading`.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &iov, 1, position as libc::off_t, flags) };
        if read >= 0 {
            return Ok(read as usize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            _ => return Err(error),
        }
    }
}

/// Has dirty pages of a range written. What fails is told by the next sync.
pub(super) fn start_writeback(file: &File, position: u64, len: u64) {
    let (Ok(position), Ok(len)) = (libc::off64_t::try_from(position), libc::off64_t::try_from(len)) else {
        return;
    };
    // SAFETY: the descriptor is open for the whole call, which takes no pointers.
    unsafe { libc::sync_file_range(file.as_raw_fd(), position, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// How many bytes of a range are in the page cache, by pages.
pub(super) fn cached_bytes(file: &File, position: u64, len: u64) -> io::Result<u64> {
    if len == 0 {
        return Ok(0);
    }
    let range = Range { off: position, len };
    let mut stat = CacheStat::default();
    // SAFETY: `range` and `stat` have the layout of `struct cachestat_range` and `struct cachestat` and outlive the
    // call; the descriptor is open. Exercised by the tests of `reading`.
    let code = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &range, &mut stat, 0) };
    if code == 0 {
        let page = page_bytes();
        let pages = (position + len - 1) / page - position / page + 1;
        return Ok(if stat.nr_cache >= pages { len } else { (stat.nr_cache * page).min(len - 1) });
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Not in this kernel, not for this kind of file, or not for us: a byte here and there says as much.
        Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM) => {
            Ok(if probe(file, position, len)? { len } else { 0 })
        }
        _ => Err(error),
    }
}

fn probe(file: &File, position: u64, len: u64) -> io::Result<bool> {
    let last = position + len - 1;
    let mut at = position;
    loop {
        match pread_with(file, &mut [0], at, libc::RWF_NOWAIT) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if at == last {
            return Ok(true);
        }
        at = at.saturating_add(PROBE_BYTES).min(last);
    }
}

fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    // SAFETY: the call takes no pointers.
    *BYTES.get_or_init(|| u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1))
}
