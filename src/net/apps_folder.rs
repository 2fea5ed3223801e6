//! The thread that reads the folder of apps again and again, so that a slow disk does not block the
//! event loop. How changes reach the hub is in `control/change_apps`; what the files mean, in
//! `config/apps_folder`.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use mio::Waker;

use super::threads;
use crate::config::apps_folder::Changes;
use crate::config::{App, AppsFiles, Error, apps_requests};
use crate::hub::AppRequest;

/// The event loop's side.
pub(super) struct AppsThread {
    requests: Sender<Request>,
    updates: Receiver<Vec<Change>>,
}

/// What the thread does besides reading the folder every few seconds. After each request it reads the
/// folder at once.
enum Request {
    /// Nothing else. These are the apps of the configuration itself, if they may be others than before.
    Scan(Option<Vec<App>>),
    /// Answers a request about apps.
    Answer(AppRequest),
}

/// A step of what has changed.
pub(super) enum Change {
    /// The app with this id is gone.
    Remove(String),
    /// A new or changed app, and how often it was refused because another one has its key.
    Put(Box<App>, u8),
    /// All changes of a scan are made: the numbers of added, changed and removed apps.
    Done([usize; 3]),
    /// The bad files are others than before: all of them, each with the ids of its apps that stay.
    Bad(Vec<(String, Vec<String>)>),
    /// A request about apps is answered, after what it has changed: its number, a status, and a JSON
    /// text.
    Answer(NonZeroU32, u16, String),
}

impl AppsThread {
    /// Starts the thread. The waker wakes the event loop when changes are sent.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn start(files: AppsFiles, own: Vec<App>, waker: &Arc<Waker>) -> io::Result<Self> {
        let (requests, for_thread) = mpsc::channel();
        let (from_thread, updates) = mpsc::channel();
        let waker = Arc::clone(waker);
        let run = move || run(files, own, &for_thread, &from_thread, &waker);
        threads::start("apps", Box::new(run))?;
        Ok(AppsThread { requests, updates })
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

    /// The next changes, at most [`CHANGES_MAX`]; `None` if there are none yet.
    pub(super) fn next_changes(&self) -> Option<Vec<Change>> {
        self.updates.try_recv().ok()
    }
}

/// The files that are bad, each with the ids of its apps that stay.
pub(super) fn bad_files(files: &AppsFiles) -> Vec<(String, Vec<String>)> {
    let ids = |apps: &[App]| apps.iter().map(|app| app.id.clone()).collect();
    files.folder().bad().map(|(name, _, apps)| (name.to_owned(), ids(apps))).collect()
}

fn run(
    files: AppsFiles,
    own: Vec<App>,
    requests: &Receiver<Request>,
    updates: &Sender<Vec<Change>>,
    waker: &Waker,
) {
    let was_bad = bad_files(&files);
    let mut reader = Reader { files, own, was_bad, failed: None };
    loop {
        let (mut answer, mut is_change) = (None, false);
        match requests.recv_timeout(PAUSE) {
            Ok(Request::Scan(own)) => {
                if let Some(own) = own {
                    reader.files.set_own(&own);
                    reader.own = own;
                }
            }
            Ok(Request::Answer(AppRequest { number, action })) => {
                is_change = action.is_change();
                let files = Some(&reader.files);
                let (status, body) = apps_requests::answer(action, &reader.own, files);
                answer = Some(Change::Answer(number, status, body));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        reader.scan(|changes| send(changes, updates, waker));
        if let Some(mut answer) = answer {
            if let (Change::Answer(_, status, body), Some(why)) = (&mut answer, &reader.failed)
                && is_change
                && *status == 200
            {
                (*status, *body) = apps_requests::unapplied(why);
            }
            send(vec![answer], updates, waker);
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
    /// Reads the folder, logs what is wrong, and passes what has changed on in pieces.
    fn scan(&mut self, mut pass_on: impl FnMut(Vec<Change>)) {
        let changes = match self.files.scan() {
            Ok(changes) => changes,
            Err(error) => {
                if self.failed.as_ref() != Some(&error) {
                    log::error!("{error}; the apps stay as they were");
                }
                self.failed = Some(error);
                return;
            }
        };
        if self.failed.take().is_some() {
            log::info!("{}: the folder of apps is read again", self.files.path().display());
        }
        self.log(&changes);
        let Changes { removed, put, added, .. } = changes;
        let numbers = [added, put.len() - added, removed.len()];
        if numbers != [0; 3] {
            let removed = removed.into_iter().map(Change::Remove);
            let put = put.into_iter().map(|app| Change::Put(Box::new(app), 0));
            let mut steps = removed.chain(put).chain([Change::Done(numbers)]).peekable();
            while steps.peek().is_some() {
                pass_on(steps.by_ref().take(CHANGES_MAX).collect());
            }
        }
        let bad = bad_files(&self.files);
        if bad != self.was_bad {
            self.was_bad.clone_from(&bad);
            pass_on(vec![Change::Bad(bad)]);
        }
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

fn send(changes: Vec<Change>, updates: &Sender<Vec<Change>>, waker: &Waker) {
    // Both fail if the event loop has ended.
    let _ = updates.send(changes);
    let _ = waker.wake();
}

/// The most changes that are sent at once, and so the most that a turn of the event loop applies. Each
/// takes some ten microseconds, so a turn gets less than a millisecond longer.
pub(super) const CHANGES_MAX: usize = 64;
/// The pause between two scans. A new app waits for it, so it is short. But a scan of 100,000 files takes
/// 0.2 s, which is 4 % of a core with this pause and would be 20 % with a pause of one second.
const PAUSE: Duration = Duration::from_secs(5);
