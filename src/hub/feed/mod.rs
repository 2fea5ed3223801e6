//! The feed: what happens in an app as lines of JSON, for the viewers that `GET /apps/ID/feed` has
//! opened (protocol section 14.10), and for those of the console, which see all apps. A viewer is a
//! connection in a phase of its own; `viewers` has the part of the hub that knows connections.
//!
//! ```text
//! happenings --> reports: a line, once --> filter --> viewer: a bounded queue --> outbox
//! ```
//!
//! Without a viewer there is no [`Feed`], and a report costs one branch. A line is written once for
//! all viewers that want it, and not at all if none does.

mod api_errors;
mod filter;
mod kind;
mod line;
mod reports;
mod viewer;
mod viewers;

pub(super) use filter::{EVERY_APP, Filter};
pub(super) use kind::Kind;
pub(super) use reports::{
    ApiError, ApiEventReport, ClientEventReport, End, Refusal, WebhookReport, WebhookReportOutcome,
};
pub(super) use viewers::FeedRequest;

use std::rc::Rc;

use super::ids::{ConnId, Now};
use super::wall_clock::WallClock;
use crate::proto::websocket::Frame;
use filter::About;
use line::Line;
use viewer::Viewer;

/// Whether there can be a feed: without the feature no viewer is ever added, and the compiler leaves
/// out what only a feed needs.
pub(super) const HAS_FEED: bool = cfg!(feature = "console");

/// The viewers of each app.
#[derive(Default)]
struct ViewersByApp {
    /// By the index of the app.
    apps: Vec<Vec<Viewer>>,
    /// Those of [`EVERY_APP`].
    console: Vec<Viewer>,
}

impl ViewersByApp {
    fn of(&self, app: u32) -> &[Viewer] {
        match app {
            EVERY_APP => &self.console,
            _ => self.apps.get(app as usize).map_or(&[], Vec::as_slice),
        }
    }

    /// The viewers of an app, for one more.
    fn of_mut(&mut self, app: u32) -> &mut Vec<Viewer> {
        let place = app as usize;
        if app == EVERY_APP {
            return &mut self.console;
        }
        if self.apps.len() <= place {
            self.apps.resize_with(place + 1, Vec::new);
        }
        &mut self.apps[place]
    }

    fn find(&mut self, app: u32, id: ConnId) -> Option<&mut Viewer> {
        let viewers = match app {
            EVERY_APP => &mut self.console,
            _ => self.apps.get_mut(app as usize)?,
        };
        viewers.iter_mut().find(|viewer| viewer.id == id)
    }
}

/// The viewers of all apps.
pub(crate) struct Feed {
    viewers: ViewersByApp,
    /// The ids of the apps.
    app_ids: Vec<Rc<str>>,
    /// The viewers with lines to send, and an empty outbox.
    ready: Vec<(u32, ConnId)>,
    /// The earliest time at which one of them may get a chunk; `MAX` if there are none.
    next_ms: u64,
    /// Lines that were dropped and not counted yet, by app.
    uncounted: Vec<(u32, u64)>,
    /// Units of work that were not counted yet.
    units: u64,
    now: Now,
    wall: WallClock,
    /// Reused for each line.
    line: Line,
}

impl Feed {
    pub(super) fn new(app_ids: Vec<Rc<str>>, now: Now) -> Self {
        Feed {
            viewers: ViewersByApp::default(),
            app_ids,
            ready: Vec::new(),
            next_ms: u64::MAX,
            uncounted: Vec::new(),
            units: 0,
            now,
            wall: WallClock::new(now),
            line: Line::default(),
        }
    }

    /// Sets the time of the following reports.
    pub(super) fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Adds an app.
    pub(super) fn add_app(&mut self, id: Rc<str>) {
        self.app_ids.push(id);
    }

    /// Adds a viewer.
    fn add(&mut self, app: u32, viewer: Viewer) {
        self.viewers.of_mut(app).push(viewer);
    }

    /// Removes a viewer.
    pub(super) fn remove(&mut self, app: u32, id: ConnId) {
        self.viewers.of_mut(app).retain(|viewer| viewer.id != id);
        self.ready.retain(|ready| *ready != (app, id));
    }

    /// The number of viewers of an app.
    pub(super) fn viewers(&self, app: u32) -> usize {
        self.viewers.of(app).len()
    }

    /// Whether a connection is a viewer of an app.
    pub(super) fn has(&self, app: u32, id: ConnId) -> bool {
        self.viewers.of(app).iter().any(|viewer| viewer.id == id)
    }

    /// Whether no app has a viewer.
    pub(super) fn is_empty(&self) -> bool {
        self.viewers.console.is_empty() && self.viewers.apps.iter().all(Vec::is_empty)
    }

    /// Whether a viewer of an app wants lines of a kind. A caller asks this before it collects what
    /// only a report needs.
    pub(super) fn wants(&self, app: u32, kind: Kind) -> bool {
        let console = if app == EVERY_APP { &[] } else { self.viewers.of(EVERY_APP) };
        self.viewers.of(app).iter().chain(console).any(|viewer| viewer.filter.wants(kind))
    }

    /// Writes a line for the viewers of an app and of the console that want it.
    fn report(&mut self, app: u32, about: About<'_>, write: &dyn Fn(&mut Line)) {
        self.write(app, true, about, write);
    }

    /// Writes a line for the viewers of an app, and for those of the console if `with_console`.
    fn write(&mut self, app: u32, with_console: bool, about: About<'_>, write: &dyn Fn(&mut Line)) {
        let Feed { viewers, app_ids, ready, next_ms, uncounted, units, line, now, wall } = self;
        let ViewersByApp { apps, console } = viewers;
        let of_app = apps.get_mut(app as usize).into_iter().flatten().map(|viewer| (app, viewer));
        let console = console.iter_mut().filter(|_| with_console);
        let all = of_app.chain(console.map(|viewer| (EVERY_APP, viewer)));
        let mut write = Some(write);
        let mut has_app_id = false;
        for (at, viewer) in all.filter(|(_, viewer)| viewer.filter.covers(app, &about)) {
            if about.kind.is_event() && viewer.drops_event(now.ms) {
                count(uncounted, at);
                make_ready(ready, next_ms, at, viewer);
                continue;
            }
            if let Some(write) = write.take() {
                write(line.of(about.kind, wall.unix_ms(*now)));
            }
            // The viewers of the console come last: only they need the app.
            if at == EVERY_APP && !std::mem::replace(&mut has_app_id, true) {
                line.head.optional("app", app_ids.get(app as usize).map(|id| &**id));
            }
            *units += LINE_UNITS + line.len() as u64 / 64;
            if !viewer.push(line) {
                count(uncounted, at);
            }
            make_ready(ready, next_ms, at, viewer);
        }
        if write.is_none() {
            line.shrink();
        }
    }

    /// Queues a line of no kind for one viewer: every viewer gets it.
    fn send(&mut self, app: u32, id: ConnId, kind: &str, write: &dyn Fn(&mut Line)) {
        let Feed { viewers, ready, next_ms, line, now, wall, .. } = self;
        let Some(viewer) = viewers.find(app, id) else { return };
        write(line.begin(kind, wall.unix_ms(*now)));
        // A viewer without room for it has other lines to read.
        let dropped = viewer.dropped;
        if !viewer.push(line) {
            viewer.dropped = dropped;
        }
        make_ready(ready, next_ms, app, viewer);
    }

    /// The chunks to put in outboxes now.
    fn take_due(&mut self) -> Vec<(ConnId, Frame)> {
        let mut chunks = Vec::new();
        if self.now.ms < self.next_ms {
            return chunks;
        }
        self.next_ms = u64::MAX;
        for (app, id) in std::mem::take(&mut self.ready) {
            let Some(viewer) = self.viewers.find(app, id) else { continue };
            viewer.is_ready = false;
            if viewer.due_ms() > self.now.ms {
                make_ready(&mut self.ready, &mut self.next_ms, app, viewer);
                continue;
            }
            viewer.next_ms = self.now.ms + CHUNK_PAUSE_MS;
            chunks.extend(self.take_chunk(app, id).map(|chunk| (id, chunk)));
        }
        chunks
    }

    /// What waits for a viewer, as a chunk.
    fn take_chunk(&mut self, app: u32, id: ConnId) -> Option<Frame> {
        let Feed { viewers, line, now, wall, .. } = self;
        let viewer = viewers.find(app, id)?;
        viewer.is_ready = false;
        if !viewer.has_lines() {
            return None;
        }
        viewer.is_sending = true;
        let dropped = viewer.dropped;
        if dropped == 0 {
            return Some(viewer.take_chunk(None));
        }
        line.begin("dropped", wall.unix_ms(*now)).head.number("count", dropped);
        Some(viewer.take_chunk(Some(line)))
    }

    /// The outbox of a viewer is empty: it may get the next chunk.
    fn written(&mut self, app: u32, id: ConnId) {
        if let Some(viewer) = self.viewers.find(app, id) {
            viewer.is_sending = false;
            if viewer.has_lines() {
                make_ready(&mut self.ready, &mut self.next_ms, app, viewer);
            }
        }
    }

    /// The end of the body of a viewer's response.
    fn end(&mut self, app: u32, id: ConnId) -> Option<Frame> {
        self.viewers.find(app, id)?.end()
    }

    /// Whether [`Connections::send_feed`](super::connections::Connections::send_feed) has something
    /// to do.
    pub(super) fn has_work(&self) -> bool {
        self.now.ms >= self.next_ms || !self.uncounted.is_empty()
    }

    /// When a viewer may get its next chunk, if that is later than now.
    pub(super) fn next_ms(&self) -> Option<u64> {
        (self.next_ms > self.now.ms && self.next_ms < u64::MAX).then_some(self.next_ms)
    }
}

fn make_ready(ready: &mut Vec<(u32, ConnId)>, next_ms: &mut u64, app: u32, viewer: &mut Viewer) {
    if viewer.is_sending {
        return;
    }
    *next_ms = viewer.due_ms().min(*next_ms);
    if !std::mem::replace(&mut viewer.is_ready, true) {
        ready.push((app, viewer.id));
    }
}

fn count(uncounted: &mut Vec<(u32, u64)>, app: u32) {
    match uncounted.iter_mut().find(|(counted, _)| *counted == app) {
        Some((_, lines)) => *lines += 1,
        None => uncounted.push((app, 1)),
    }
}

/// The least time between two chunks for a viewer, unless many lines wait: a write costs as much
/// time as five lines, and a screen shows a new picture every 16 ms.
const CHUNK_PAUSE_MS: u64 = 10;
/// Units of work of a line for one viewer, besides its bytes.
const LINE_UNITS: u64 = 3;
