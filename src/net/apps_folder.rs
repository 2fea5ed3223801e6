//! The thread that reads the folder of apps again and again, so that a slow disk does not block the
//! event loop. How changes reach the hub is in `server/apps`; what the files mean, in
//! `config/apps_folder`.

mod requests;

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use mio::Waker;

use super::threads;
use crate::config::apps_folder::Changes;
use crate::config::{App, AppsFiles, Error};
use crate::hub::{AppAction, AppRequest};

/// The event loop's side.
pub(super) struct AppsThread {
    requests: Sender<Request>,
    results: Receiver<Outcome>,
}

/// What the thread does besides reading the folder every few seconds. It reads the folder at once
/// after each request.
enum Request {
    /// Nothing else. These are the apps of the configuration itself, if they may be others than before.
    Scan(Option<Vec<App>>),
    /// A request about apps.
    Answer(AppRequest),
}

/// What the thread has done.
pub(super) enum Outcome {
    Changed(Update),
    /// The answer to a request about apps: its number, a status, and a JSON text. What the request has
    /// changed comes before it.
    Answered(NonZeroU32, u16, String),
}

/// What has changed in the folder.
pub(super) struct Update {
    /// The ids of apps that are gone.
    pub removed: Vec<String>,
    /// New and changed apps.
    pub put: Vec<App>,
    /// How many of these are new.
    pub added: usize,
    /// The bad files, each with the ids of its apps that stay.
    pub bad: Vec<(String, Vec<String>)>,
}

impl AppsThread {
    /// Starts the thread. The waker wakes the event loop for each update.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn start(files: AppsFiles, own: Vec<App>, waker: &Arc<Waker>) -> io::Result<Self> {
        let (requests, for_thread) = mpsc::channel();
        let (from_thread, results) = mpsc::channel();
        let waker = Arc::clone(waker);
        let run = move || run(files, own, &for_thread, &from_thread, &waker);
        threads::start("apps", Box::new(run))?;
        Ok(AppsThread { requests, results })
    }

    /// Makes the thread read the folder at once. `own` are the apps of the configuration itself, if
    /// they may be others than before.
    pub(super) fn scan(&self, own: Option<Vec<App>>) {
        // Fails if the thread has ended, which it does not before the event loop.
        let _ = self.requests.send(Request::Scan(own));
    }

    /// Makes the thread answer a request about apps.
    pub(super) fn ask(&self, request: AppRequest) {
        // As above.
        let _ = self.requests.send(Request::Answer(request));
    }

    /// The next outcome, if there is one.
    pub(super) fn next_outcome(&self) -> Option<Outcome> {
        self.results.try_recv().ok()
    }
}

/// The files that are bad, each with the ids of its apps that stay.
pub(super) fn bad_files(files: &AppsFiles) -> Vec<(String, Vec<String>)> {
    let ids = |apps: &[App]| apps.iter().map(|app| app.id.clone()).collect();
    files.folder().bad().map(|(name, _, apps)| (name.to_owned(), ids(apps))).collect()
}

/// The answer to a request about apps of a server without a folder.
pub(super) fn answer_without_folder(action: AppAction, own: &[App]) -> (u16, String) {
    requests::answer(action, own, None)
}

fn run(
    files: AppsFiles,
    own: Vec<App>,
    requests: &Receiver<Request>,
    results: &Sender<Outcome>,
    waker: &Waker,
) {
    let was_bad = bad_files(&files);
    let mut reader = Reader { files, own, was_bad, failed: None };
    loop {
        let mut answer = None;
        match requests.recv_timeout(PAUSE) {
            Ok(Request::Scan(own)) => {
                if let Some(own) = own {
                    reader.files.set_own(&own);
                    reader.own = own;
                }
            }
            Ok(Request::Answer(AppRequest { number, action })) => {
                let (status, body) = requests::answer(action, &reader.own, Some(&reader.files));
                answer = Some(Outcome::Answered(number, status, body));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let outcomes = reader.scan().map(Outcome::Changed).into_iter().chain(answer);
        for outcome in outcomes {
            // Both fail if the event loop has ended.
            let _ = results.send(outcome);
            let _ = waker.wake();
        }
    }
}

/// The state of the thread.
struct Reader {
    files: AppsFiles,
    /// The apps of the configuration itself.
    own: Vec<App>,
    was_bad: Vec<(String, Vec<String>)>,
    /// Why the last scan has failed.
    failed: Option<Error>,
}

impl Reader {
    /// Reads the folder, and logs what is wrong. Returns what has changed.
    fn scan(&mut self) -> Option<Update> {
        let changes = match self.files.scan() {
            Ok(changes) => changes,
            Err(error) => {
                if self.failed.as_ref() != Some(&error) {
                    log::error!("{error}; the apps stay as they were");
                }
                self.failed = Some(error);
                return None;
            }
        };
        if self.failed.take().is_some() {
            log::info!("{}: the folder of apps is read again", self.files.path().display());
        }
        self.log(&changes);
        let has_changed = !changes.put.is_empty() || !changes.removed.is_empty();
        let bad = bad_files(&self.files);
        let is_bad_other = bad != self.was_bad;
        self.was_bad.clone_from(&bad);
        let (removed, put, added) = (changes.removed, changes.put, changes.added);
        (has_changed || is_bad_other).then_some(Update { removed, put, added, bad })
    }

    fn log(&self, changes: &Changes) {
        let folder = self.files.path().display();
        changes.findings.warnings.iter().for_each(|text| log::warn!("{folder}/{text}"));
        changes.findings.notes.iter().for_each(|text| log::info!("{folder}/{text}"));
        changes.bad.iter().for_each(|(why, apps)| log::error!("{}", self.files.line(why, *apps)));
        for name in &changes.good {
            log::info!("{folder}/{}: is good again", name.escape_debug());
        }
    }
}

/// Seconds between two scans: short enough for somebody who waits for an app, and long enough that a
/// scan of 100,000 files, which takes a fifth of a second, costs little.
const PAUSE: Duration = Duration::from_secs(5);
