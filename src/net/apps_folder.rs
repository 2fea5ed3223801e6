//! The thread that reads the folder of apps again and again, so that a slow disk does not block the
//! event loop. How changes reach the hub is in `server/apps`; what the files mean, in
//! `config/apps_folder`.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use mio::Waker;

use super::threads;
use crate::config::apps_folder::Changes;
use crate::config::{App, AppsFiles};

/// The event loop's side.
pub(super) struct AppsThread {
    requests: Sender<Request>,
    updates: Receiver<Update>,
}

/// Asks the thread to read the folder at once.
struct Request {
    /// The apps of the configuration itself, if they may be others than before.
    own: Option<Vec<App>>,
}

/// Some of what has changed in the folder: an update has a limit, so that the event loop takes it in
/// one turn.
#[derive(Default)]
pub(super) struct Update {
    /// At most [`CHANGES_MAX`].
    pub changes: Vec<Change>,
    /// The bad files, each with the ids of its apps that stay, if they are others than before.
    pub bad: Option<Vec<(String, Vec<String>)>>,
}

/// A step of what has changed.
pub(super) enum Change {
    /// The app with this id is gone.
    Remove(String),
    /// A new or changed app, and how often it was refused because another one has its key.
    Put(Box<App>, u8),
    /// All changes of a scan are made: the numbers of added, changed and removed apps.
    Done([usize; 3]),
}

impl AppsThread {
    /// Starts the thread. The waker wakes the event loop for each update.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn start(files: AppsFiles, waker: &Arc<Waker>) -> io::Result<Self> {
        let (requests, for_thread) = mpsc::channel();
        let (from_thread, updates) = mpsc::channel();
        let waker = Arc::clone(waker);
        threads::start("apps", Box::new(move || run(files, &for_thread, &from_thread, &waker)))?;
        Ok(AppsThread { requests, updates })
    }

    /// Makes the thread read the folder at once. `own` are the apps of the configuration itself, if
    /// they may be others than before.
    pub(super) fn scan(&self, own: Option<Vec<App>>) {
        // Fails if the thread has ended, which it does not before the event loop.
        let _ = self.requests.send(Request { own });
    }

    /// The next update, if there is one.
    pub(super) fn next_update(&self) -> Option<Update> {
        self.updates.try_recv().ok()
    }
}

/// The files that are bad, each with the ids of its apps that stay.
pub(super) fn bad_files(files: &AppsFiles) -> Vec<(String, Vec<String>)> {
    let ids = |apps: &[App]| apps.iter().map(|app| app.id.clone()).collect();
    files.folder().bad().map(|(name, _, apps)| (name.to_owned(), ids(apps))).collect()
}

fn run(
    mut files: AppsFiles,
    requests: &Receiver<Request>,
    updates: &Sender<Update>,
    waker: &Waker,
) {
    let mut failed = None;
    let mut was_bad = bad_files(&files);
    loop {
        match requests.recv_timeout(PAUSE) {
            Ok(Request { own }) => own.into_iter().for_each(|own| files.set_own(&own)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let changes = match files.scan() {
            Ok(changes) => changes,
            Err(error) => {
                if failed.as_ref() != Some(&error) {
                    log::error!("{error}; the apps stay as they were");
                }
                failed = Some(error);
                continue;
            }
        };
        if failed.take().is_some() {
            log::info!("{}: the folder of apps is read again", files.path().display());
        }
        let folder = files.path().display();
        changes.findings.warnings.iter().for_each(|text| log::warn!("{folder}/{text}"));
        changes.findings.notes.iter().for_each(|text| log::info!("{folder}/{text}"));
        changes.bad.iter().for_each(|(why, apps)| log::error!("{}", files.line(why, *apps)));
        for name in &changes.good {
            log::info!("{folder}/{}: is good again", name.escape_debug());
        }
        let bad = bad_files(&files);
        if bad != was_bad {
            was_bad.clone_from(&bad);
            send(Update { changes: Vec::new(), bad: Some(bad) }, updates, waker);
        }
        let Changes { removed, put, added, .. } = changes;
        let numbers = [added, put.len() - added, removed.len()];
        if numbers == [0; 3] {
            continue;
        }
        let removed = removed.into_iter().map(Change::Remove);
        let put = put.into_iter().map(|app| Change::Put(Box::new(app), 0));
        let mut steps = removed.chain(put).chain([Change::Done(numbers)]);
        loop {
            let changes: Vec<Change> = steps.by_ref().take(CHANGES_MAX).collect();
            if changes.is_empty() {
                break;
            }
            send(Update { changes, bad: None }, updates, waker);
        }
    }
}

fn send(update: Update, updates: &Sender<Update>, waker: &Waker) {
    // Both fail if the event loop has ended.
    let _ = updates.send(update);
    let _ = waker.wake();
}

/// The most changes of an update, and so the most that a turn of the event loop applies. Each takes some
/// ten microseconds, so a turn gets less than a millisecond longer.
pub(super) const CHANGES_MAX: usize = 64;
/// Seconds between two scans: short enough for somebody who waits for an app, and long enough that a
/// scan of 100,000 files, which takes a fifth of a second, costs little.
const PAUSE: Duration = Duration::from_secs(5);
