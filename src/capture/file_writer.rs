//! The thread that makes the text of files and writes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::FileOptions;

/// Files that may wait.
const FILES_MAX: usize = 1024;
/// Bytes, estimated, that the waiting files may hold in memory. One file may be larger when nothing else waits.
const BYTES_MAX: usize = 256 << 20;

/// The numbers of files by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FileWriterStats {
    /// Files written.
    pub saved: u64,
    /// Files lost because too many were waiting.
    pub dropped: u64,
    /// Files the disk refused.
    pub failed: u64,
    /// Files waiting.
    pub waiting: usize,
}

type Render = Box<dyn FnOnce() -> Vec<u8> + Send>;

struct Job {
    path: PathBuf,
    bytes: usize,
    render: Render,
}

enum Message {
    Save(Job),
    End,
}

/// The way to the saving thread.
#[derive(Clone, Debug)]
pub struct FileWriter {
    shared: Arc<Shared>,
    jobs: Sender<Message>,
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    options: FileOptions,
    waiting_bytes: AtomicUsize,
    saved: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Shared {
    fn new(options: FileOptions) -> Self {
        let zero = AtomicU64::default;
        Self { options, waiting_bytes: AtomicUsize::default(), saved: zero(), dropped: zero(), failed: zero() }
    }
}

impl FileWriter {
    /// Starts the thread. Without anything to save there is none.
    pub fn start(options: FileOptions) -> io::Result<Self> {
        let (jobs, waiting) = bounded(FILES_MAX);
        let (ending, ended) = bounded(1);
        let any = options.any();
        let shared = Arc::new(Shared::new(options));
        if any {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("files".to_owned()).spawn(move || {
                shared.work(&waiting);
                drop(ending);
            })?;
        }
        Ok(Self { shared, jobs, ended })
    }

    /// Returns what is saved.
    pub fn options(&self) -> &FileOptions {
        &self.shared.options
    }

    /// Hands over one file of about `bytes` bytes, whose text `render` makes on the saving thread. Never waits.
    pub fn save(&self, path: PathBuf, bytes: usize, render: impl FnOnce() -> Vec<u8> + Send + 'static) {
        let waiting = self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let job = Message::Save(Job { path, bytes, render: Box::new(render) });
        let fits = waiting == 0 || waiting.saturating_add(bytes) <= BYTES_MAX;
        if !fits || self.jobs.try_send(job).is_err() {
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let dropped = self.shared.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "files of requests were not saved: too many are waiting for the disk");
            }
        }
    }

    /// Returns what became of the files so far.
    pub fn stats(&self) -> FileWriterStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { saved, dropped, failed, .. } = &*self.shared;
        FileWriterStats { saved: read(saved), dropped: read(dropped), failed: read(failed), waiting: self.jobs.len() }
    }

    /// Ends the thread once it has written what is waiting, or after `limit`.
    pub fn close(&self, limit: Duration) {
        if self.options().any() && self.jobs.send_timeout(Message::End, limit).is_ok() {
            // Answers only by going away.
            let _ = self.ended.recv_timeout(limit);
        }
    }
}

impl Shared {
    fn work(&self, jobs: &Receiver<Message>) {
        while let Ok(Message::Save(Job { path, bytes, render })) = jobs.recv() {
            let outcome = write(&path, render);
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match outcome {
                Ok(()) => _ = self.saved.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
                    // A full disk refuses every file: not a line for each.
                    if failed.is_power_of_two() {
                        tracing::error!(failed, path = %path.display(), %error, "file of a request could not be saved");
                    }
                }
            }
        }
    }
}

/// Writes beside the name and renames: a reader never sees half a file, and a full disk leaves none.
fn write(path: &Path, render: Render) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let written = fs::write(&beside, render()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigBuilder;

    const LIMIT: Duration = Duration::from_secs(30);

    fn file_writer(folder: &Path) -> FileWriter {
        let files = ConfigBuilder::new().unwrap().build().unwrap().files;
        FileWriter::start(FileOptions { output_path: folder.to_owned(), requests: true, ..files }).unwrap()
    }

    #[test]
    fn files_are_written_before_close_returns() {
        let folder = tempfile::tempdir().unwrap();
        let file_writer = file_writer(folder.path());
        let path = folder.path().join("a/b/one.txt");
        file_writer.save(path.clone(), 3, || b"one".to_vec());
        file_writer.close(LIMIT);
        assert_eq!(fs::read(path).unwrap(), b"one");
        assert_eq!(file_writer.stats(), FileWriterStats { saved: 1, ..FileWriterStats::default() });
    }

    #[test]
    fn a_refusing_disk_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let not_a_folder = folder.path().join("file");
        fs::write(&not_a_folder, b"").unwrap();
        let file_writer = file_writer(&not_a_folder);
        file_writer.save(not_a_folder.join("one.txt"), 3, || b"one".to_vec());
        file_writer.close(LIMIT);
        assert_eq!(file_writer.stats(), FileWriterStats { failed: 1, ..FileWriterStats::default() });
    }

    #[test]
    fn beyond_the_bound_files_are_dropped_and_counted_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let file_writer = file_writer(folder.path());
        let (release, gate) = bounded::<()>(0);
        file_writer.save(folder.path().join("slow.txt"), 1, move || {
            let _ = gate.recv();
            Vec::new()
        });
        file_writer.save(folder.path().join("huge.txt"), BYTES_MAX, Vec::new);
        assert_eq!(file_writer.stats().dropped, 1);
        drop(release);
        file_writer.close(LIMIT);
        assert_eq!(file_writer.stats(), FileWriterStats { saved: 1, dropped: 1, ..FileWriterStats::default() });
    }
}
