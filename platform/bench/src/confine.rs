//! A share of the processor for a process, by the kernel's control groups (of version 1 or 2).
//!
//! Two nodes on a machine of two cores have no more processor than one. With a share each they have
//! twice as much, and what is left between them shows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel lets processors be shared out, in either version.
const PLACES: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"];
/// After so long a share is given anew, in microseconds. Short, so that whoever has used its share up does
/// not wait for long.
const PERIOD_MICROS: u32 = 10_000;

/// A group of processes that share a part of a core, removed when dropped: after the processes are gone.
#[derive(Debug)]
pub struct Share {
    group: PathBuf,
}

impl Share {
    /// So many cores, for whoever is put in.
    ///
    /// # Errors
    /// The kernel's own, as for whoever is not root.
    pub fn of(cores: f64, name: &str) -> io::Result<Self> {
        let place = PLACES.iter().map(Path::new).find(|place| place.join("cgroup.procs").exists());
        let place = place.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no control groups"))?;
        let group = place.join(format!("wotp-bench-{}-{name}", std::process::id()));
        fs::create_dir(&group)?;
        let share = Self { group };
        let quota = (f64::from(PERIOD_MICROS) * cores) as u32;
        if share.group.join("cpu.cfs_quota_us").exists() {
            fs::write(share.group.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
            fs::write(share.group.join("cpu.cfs_quota_us"), quota.to_string())?;
        } else {
            fs::write(share.group.join("cpu.max"), format!("{quota} {PERIOD_MICROS}"))?;
        }
        Ok(share)
    }

    /// Puts a process in, with all threads that it has and will have.
    ///
    /// # Errors
    /// The kernel's own.
    pub fn take(&self, pid: u32) -> io::Result<()> {
        fs::write(self.group.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // A process that is still in keeps it; it costs nothing, and goes with the machine.
        let _ = fs::remove_dir(&self.group);
    }
}
