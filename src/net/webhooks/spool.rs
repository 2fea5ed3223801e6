//! The file of the spool. The event loop hands over encoded records. A thread writes them, so that
//! the event loop does not wait for a slow disk. After each write the thread pauses for [`PAUSE`]. A
//! record in the file survives the end of the process. The file is not synchronised to the disk:
//! after a power failure the last seconds may be missing.
//!
//! The bytes of records are in `proto/spool`, their meaning in the hub.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::net::threads;
use crate::proto::spool::{self, HEADER, SpoolRecord};

/// The event loop's side.
pub(super) struct Spool {
    /// Encoded records that were not handed over yet.
    encoded: Vec<u8>,
    shared: Arc<Shared>,
    /// Whether records are being dropped, which was logged.
    is_dropping: bool,
}

/// What both sides use. Neither holds the lock for longer than a copy of the records of a turn.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signals that the queue has records.
    added: Condvar,
    /// Signals that the thread has written all records.
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Whether the thread writes records that it has taken from the queue.
    is_writing: bool,
    /// Whether the event loop waits for the end of the queue, so that the thread does not pause.
    is_finishing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that a spool can be in this folder, which is created if it does not exist.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    // Bodies of webhooks may be confidential.
    builder.recursive(true).mode(0o700).create(folder)?;
    open_lock(folder).map(|_| ())
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))
}

impl Spool {
    /// Reads and locks the file in this folder, and starts the thread.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Vec<SpoolRecord>)> {
        check(folder)?;
        let lock = open_lock(folder)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let text = "is in use by another server; give each a directory of its own";
                return Err(io::Error::other(text));
            }
            locked => locked?,
        }
        let mut records = spool::compact(read(folder)?);
        let file = SpoolFile::replace(folder.to_owned(), &mut records)?;
        let shared = Arc::<Shared>::default();
        let writer = Writer { shared: Arc::clone(&shared), file, _lock: lock };
        threads::start("webhook-spool", Box::new(move || writer.run()))?;
        Ok((Spool { encoded: Vec::new(), shared, is_dropping: false }, records))
    }

    /// Adds a record; [`Spool::write`] hands it over.
    pub(super) fn push(&mut self, mut record: SpoolRecord) {
        spool::encode(&mut record, &mut self.encoded);
    }

    /// Hands the added records to the thread.
    pub(super) fn write(&mut self) {
        if self.encoded.is_empty() {
            return;
        }
        let mut queue = self.shared.lock();
        let is_full = queue.bytes.len() + self.encoded.len() > QUEUE_BYTES;
        if !is_full {
            queue.bytes.append(&mut self.encoded);
        }
        drop(queue);
        self.encoded.clear();
        self.encoded.shrink_to(KEPT_BYTES);
        self.shared.added.notify_one();
        if is_full != self.is_dropping {
            self.is_dropping = is_full;
            match is_full {
                true => log::error!(
                    "the webhook spool cannot be written, and over {QUEUE_BYTES} bytes wait for \
                     it; dropping its records: after a crash, webhooks may be missing or sent twice"
                ),
                false => log::info!("the webhook spool is written again"),
            }
        }
    }

    /// Waits until all records are written, at most [`FINISH`].
    pub(super) fn finish(&mut self) {
        self.write();
        let mut queue = self.shared.lock();
        queue.is_finishing = true;
        self.shared.added.notify_one();
        let is_left = |queue: &mut Queue| queue.is_writing || !queue.bytes.is_empty();
        let waited = self.shared.written.wait_timeout_while(queue, FINISH, is_left);
        let (mut queue, result) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.is_finishing = false;
        if result.timed_out() {
            log::error!("the webhook spool was not written within {} ms", FINISH.as_millis());
        }
    }
}

/// The thread's side.
struct Writer {
    shared: Arc<Shared>,
    file: SpoolFile,
    /// Locks the folder for as long as the process runs.
    _lock: File,
}

impl Writer {
    fn run(mut self) {
        let mut bytes = Vec::new();
        let mut has_failed = false;
        loop {
            self.take(&mut bytes);
            while let Err(error) = self.file.append(&bytes) {
                if !std::mem::replace(&mut has_failed, true) {
                    let folder = self.file.folder.display();
                    log::error!(
                        "cannot write the webhook spool {folder}/{FILE} ({SETTING}): {error}; \
                         trying again every second"
                    );
                }
                thread::sleep(RETRY);
            }
            has_failed = false;
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES);
            let is_finishing = self.ended();
            if !is_finishing {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Waits for records, and takes them.
    fn take(&self, bytes: &mut Vec<u8>) {
        let queue = self.shared.lock();
        let waited = self.shared.added.wait_while(queue, |queue| queue.bytes.is_empty());
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queue.bytes, bytes);
        queue.is_writing = true;
    }

    /// Reports that the records are written. Returns whether the event loop waits for the rest.
    fn ended(&self) -> bool {
        let mut queue = self.shared.lock();
        queue.is_writing = false;
        self.shared.written.notify_all();
        queue.is_finishing
    }
}

/// The file of the spool, with whole records only.
struct SpoolFile {
    folder: PathBuf,
    file: File,
    len: u64,
    /// The length after the last compaction.
    compact_len: u64,
}

impl SpoolFile {
    /// Writes a file with these records, and puts it in the place of the old one.
    fn replace(folder: PathBuf, records: &mut [SpoolRecord]) -> io::Result<Self> {
        let mut bytes = HEADER.to_vec();
        records.iter_mut().for_each(|record| spool::encode(record, &mut bytes));
        let new = folder.join(NEW_FILE);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        // After a power failure, the name must not refer to an empty file.
        file.sync_data()?;
        fs::rename(&new, folder.join(FILE))?;
        let len = bytes.len() as u64;
        Ok(SpoolFile { folder, file, len, compact_len: len })
    }

    /// Appends records; after an error the file is as before.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.len > COMPACT_BYTES.max(2 * self.compact_len) {
            let compacted = read(&self.folder).and_then(|records| {
                SpoolFile::replace(self.folder.clone(), &mut spool::compact(records))
            });
            match compacted {
                Ok(compacted) => *self = compacted,
                // The long file is as good as a short one; it is compacted when it has doubled.
                Err(_) => {
                    // On a full disk, the records need the bytes of the new file.
                    let _ = fs::remove_file(self.folder.join(NEW_FILE));
                    self.compact_len = self.len;
                }
            }
        }
        if let Err(error) = self.file.write_all(bytes) {
            // The position first: if the length cannot be set, the next record overwrites the rest.
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.len))?;
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The records of the file in this folder; none if it does not exist.
fn read(folder: &Path) -> io::Result<Vec<SpoolRecord>> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let Ok(read) = spool::decode(&bytes) else {
        let kept = folder.join(UNKNOWN_FILE);
        fs::rename(&path, &kept)?;
        log::error!(
            "{} is not a webhook spool of this version; its webhooks are not sent, and it was \
             renamed to {}",
            path.display(),
            kept.display()
        );
        return Ok(Vec::new());
    };
    let left = bytes.len() - read.len;
    if left > 0 {
        log::warn!(
            "the webhook spool {} ends with {left} bytes of an incomplete record, which is normal \
             after a crash; they are ignored",
            path.display()
        );
    }
    Ok(read.records)
}

pub(super) const SETTING: &str = "webhook_spool (REVERB_WEBHOOK_SPOOL)";
const FILE: &str = "webhooks.spool";
/// The file while it is written in place of the old one.
const NEW_FILE: &str = "webhooks.new";
/// What a file that this version cannot read is renamed to.
const UNKNOWN_FILE: &str = "webhooks.unknown";
const LOCK: &str = "webhooks.lock";
/// The pause between two writes: the records of many turns become one write.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause after a failed write.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait at the end of the process or before a handover.
const FINISH: Duration = Duration::from_secs(1);
/// The most bytes that wait for a slow disk: a minute of 2,000 events of 200 bytes a second.
const QUEUE_BYTES: usize = 33_554_432;
/// The capacity that the thread keeps between writes.
const KEPT_BYTES: usize = 65_536;
/// The length from which the file is compacted, if it is also twice as long as after the last time.
const COMPACT_BYTES: u64 = 4_194_304;
