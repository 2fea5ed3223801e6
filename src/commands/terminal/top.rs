//! `reverb top`: a table of channels that is drawn every second, or once without a terminal. The
//! figures are in `board`, the lines in `table`.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::api::Call;
use super::board::{Board, View};
use super::endpoint::Endpoint;
use super::feed::{self, Update};
use super::screen::{self, Colours};
use super::table::{self, Size};
use super::watch;
use crate::args::terminal::{Sort, TopArgs};
use crate::commands::Failure;
use crate::net::sys::{self, RawTerminal};

/// Shows the table until `q` or a signal, or prints it once.
pub(super) fn run(args: &TopArgs, endpoint: Endpoint, out: &mut dyn Write) -> Result<(), Failure> {
    let endpoint = Arc::new(endpoint);
    let title = format!("reverb top, app {} at {endpoint}", screen::escaped(&endpoint.app.id));
    let is_live = !args.once && io::stdout().is_terminal();
    // Before the threads, which would receive the signals otherwise.
    let signals = match is_live {
        true => {
            Some(watch::signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGWINCH, libc::SIGTSTP])?)
        }
        false => {
            watch::end_quietly()?;
            None
        }
    };
    let shared = Arc::new(Shared::default());
    shared.spawn(&endpoint, read_feed);
    shared.spawn(&endpoint, read_lists);
    match signals {
        Some(signals) => Live { title, sort: args.sort, shared, signals }.run(out),
        None => once(&title, args.sort, &shared, out),
    }
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the board is complete, and at a failure.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    board: Board,
    /// Why a thread has ended.
    failure: Option<Failure>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs this on a thread; its failure ends the command.
    fn spawn(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        work: fn(&Endpoint, &Shared) -> Result<(), Failure>,
    ) {
        let (shared, endpoint) = (Arc::clone(self), Arc::clone(endpoint));
        thread::spawn(move || {
            let result = work(&endpoint, &shared);
            shared.lock().failure = result.err();
            shared.changed.notify_all();
        });
    }

    /// Waits until this is true, a thread fails, or the time is over.
    fn wait(
        &self,
        timeout: Duration,
        is_done: impl Fn(&Board) -> bool,
    ) -> Result<MutexGuard<'_, State>, Failure> {
        let waits = |state: &mut State| state.failure.is_none() && !is_done(&state.board);
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(state),
        }
    }
}

/// Counts the messages of the feed.
fn read_feed(endpoint: &Endpoint, shared: &Shared) -> Result<(), Failure> {
    let parameters = [("kinds", "api_event,client_event,node"), ("payload", "false")];
    feed::follow(endpoint, &parameters, &mut |update| {
        let mut state = shared.lock();
        match update {
            Update::Line(line) => state.board.take_line(line),
            Update::Lost(why, _) => state.board.take_feed_problem(why.to_owned()),
        }
        drop(state);
        shared.changed.notify_all();
        Ok(())
    })
}

/// Requests the list of channels again and again. The server makes a long list in pieces, but it is
/// work: the pause is ten times as long as the request.
fn read_lists(endpoint: &Endpoint, shared: &Shared) -> Result<(), Failure> {
    let parameters = [("info", "subscription_count,user_count")];
    let call = Call { method: "GET", path: "/channels", parameters: &parameters, body: b"" };
    let mut is_first = true;
    loop {
        let begin = Instant::now();
        match call.send_for_list(endpoint) {
            Ok(body) => {
                shared.lock().board.take_list(&body);
                is_first = false;
            }
            Err(why) if is_first => return Err(Failure::at_work(why)),
            Err(why) => shared.lock().board.take_list_problem(why),
        }
        shared.changed.notify_all();
        let took = begin.elapsed();
        thread::sleep((took * 10).max(INTERVAL.saturating_sub(took)));
    }
}

/// Prints the table after a second.
fn once(title: &str, sort: Sort, shared: &Shared, out: &mut dyn Write) -> Result<(), Failure> {
    shared.wait(FOR_EVER, Board::is_complete)?.board.begin();
    let begin = Instant::now();
    let mut view = shared.wait(INTERVAL, |_| false)?.board.take_view(begin.elapsed());
    view.sort(sort);
    let text = table::plain(title, &view).join("\n");
    screen::print(out, &text)
}

/// The table on a terminal.
struct Live {
    title: String,
    sort: Sort,
    shared: Arc<Shared>,
    /// The numbers of signals that have arrived.
    signals: UnixStream,
}

/// What a key or a signal asks for.
#[derive(PartialEq, Eq)]
enum Wish {
    Quit,
    Suspend,
    Draw,
}

impl Live {
    fn run(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        // A refusal, which arrives soon, is printed on the screen as it was.
        drop(self.shared.wait(INTERVAL, Board::is_complete)?);
        loop {
            let result = self.show(out);
            // In any case, also after an error.
            out.write_all(LEAVE).and_then(|()| out.flush()).map_err(screen::written)?;
            match result? {
                Wish::Suspend => {
                    let process = i32::try_from(std::process::id()).unwrap_or_default();
                    sys::send_signal(process, libc::SIGSTOP).map_err(Failure::at_work)?;
                }
                Wish::Quit | Wish::Draw => return Ok(()),
            }
        }
    }

    /// Draws until the terminal is to be left.
    fn show(&mut self, out: &mut dyn Write) -> Result<Wish, Failure> {
        let stdin = io::stdin();
        // Without keys the table is still useful.
        let raw = RawTerminal::of(stdin.as_fd()).ok();
        out.write_all(ENTER).map_err(screen::written)?;
        let colours = Colours::of_stdout();
        let (mut view, mut drawn_at) = (View::default(), None::<Instant>);
        loop {
            let since = drawn_at.map_or(INTERVAL, |at| at.elapsed());
            if since >= INTERVAL {
                let mut state = self.shared.wait(Duration::ZERO, |_| true)?;
                view = state.board.take_view(since);
                drawn_at = Some(Instant::now());
            }
            view.sort(self.sort);
            self.draw(&view, colours, out)?;
            let left = INTERVAL.saturating_sub(drawn_at.map_or(INTERVAL, |at| at.elapsed()));
            let wish = self.wait(raw.is_some().then_some(&stdin), left)?;
            if wish != Wish::Draw {
                return Ok(wish);
            }
        }
    }

    fn draw(&self, view: &View, colours: Colours, out: &mut dyn Write) -> Result<(), Failure> {
        let (columns, rows) = sys::terminal_size(&io::stdout()).unwrap_or(DEFAULT_SIZE);
        let size = Size { columns: columns.into(), rows: rows.into() };
        let lines = table::fitted(&self.title, view, self.sort, size, colours);
        // From the top left; what is left of each line and below the last one is cleared.
        let text = format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n"));
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(screen::written)
    }

    /// Waits for a key, a signal or the end of the time.
    fn wait(&mut self, keys: Option<&io::Stdin>, timeout: Duration) -> Result<Wish, Failure> {
        let failed = |error| Failure::at_work(format!("cannot wait for keys: {error}"));
        let signals = self.signals.as_fd();
        let second = keys.map_or(signals, AsFd::as_fd);
        let stdout = io::stdout();
        let (is_closed, [has_signal, has_key]) =
            sys::wait_for_input([signals, second], stdout.as_fd(), Some(timeout))
                .map_err(failed)?;
        if is_closed {
            return Ok(Wish::Quit);
        }
        let mut bytes = [0; 64];
        if has_signal {
            let len = (&self.signals).read(&mut bytes).unwrap_or(0);
            let has = |signal: libc::c_int| bytes[..len].contains(&(signal as u8));
            if has(libc::SIGINT) || has(libc::SIGTERM) {
                return Ok(Wish::Quit);
            }
            if has(libc::SIGTSTP) {
                return Ok(Wish::Suspend);
            }
        }
        if let (Some(keys), true) = (keys, has_key) {
            let len = keys.lock().read(&mut bytes).map_err(failed)?;
            // The end of the input is that of the terminal.
            if len == 0 {
                return Ok(Wish::Quit);
            }
            for key in &bytes[..len] {
                match key {
                    b's' => self.sort = Sort::Subscribers,
                    b'm' => self.sort = Sort::Messages,
                    b'b' => self.sort = Sort::Bytes,
                    b'n' => self.sort = Sort::Name,
                    b'q' => return Ok(Wish::Quit),
                    _ => {}
                }
            }
        }
        Ok(Wish::Draw)
    }
}

/// The alternate screen, without a cursor and without line breaks at the right edge.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
/// The screen as before.
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";
/// The columns and rows of a terminal that does not know its size.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longer than a command runs.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
