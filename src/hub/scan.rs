//! A search for the channels of one page of the console's list: what was asked, what was found, and
//! how far it is. The request is in `console/channels`.

use std::cmp::Ordering;

use super::app::App;
use super::channel::Channel;
use crate::proto::query::Query;

/// A search for the channels of one page, and how far it is.
#[derive(Debug)]
pub(crate) struct Scan {
    pub app: u32,
    /// The text that names must contain, in lower case. Only the case of ASCII letters is ignored: names
    /// in the protocol of Pusher have no others.
    search: String,
    sort: Sort,
    /// Whether the order is reversed: the most first, or names from Z to A.
    is_descending: bool,
    /// The last entry of the page before.
    after: Option<Entry>,
    /// The next place to visit in the app's slab of channels.
    place: usize,
    /// Channels that the search has found.
    pub found: u64,
    /// The entries of the page so far, in order.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Name,
    Subscribers,
    Users,
}

/// A channel in the list.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What the list is sorted by, before the name.
    pub count: u64,
    pub name: String,
    pub subscribers: u64,
    pub users: Option<usize>,
}

impl Scan {
    /// Begins the search that a request asks for.
    ///
    /// # Errors
    ///
    /// A parameter is invalid; the text names it.
    pub(crate) fn begin(app: u32, query: &Query<'_>) -> Result<Self, &'static str> {
        let sort = match query.value("sort") {
            None | Some("name") => Sort::Name,
            Some("subscribers") => Sort::Subscribers,
            Some("users") => Sort::Users,
            Some(_) => return Err("sort: must be name, subscribers or users."),
        };
        let after = query.value("after").map(|name| {
            let count = query.value("after_count").and_then(|count| count.parse().ok());
            Entry { count: count.unwrap_or(0), name: name.to_owned(), subscribers: 0, users: None }
        });
        Ok(Scan {
            app,
            search: query.value("search").unwrap_or_default().to_ascii_lowercase(),
            sort,
            is_descending: query.value("order") == Some("desc"),
            after,
            place: 0,
            found: 0,
            entries: Vec::with_capacity(PAGE + 1),
        })
    }

    /// Visits the next channels. Returns how many places were visited.
    pub(crate) fn visit(&mut self, app: &App) -> usize {
        let begin = self.place;
        let end = app.channels.capacity().min(begin.saturating_add(PLACES_PER_VISIT));
        for place in begin..end {
            let channel = app.channels.get(place).filter(|channel| channel.kind.is_listed());
            if let Some(channel) = channel.filter(|channel| self.covers(&channel.name)) {
                self.found += 1;
                self.consider(channel);
            }
        }
        self.place = end;
        end.saturating_sub(begin)
    }

    /// Whether every channel was visited.
    pub(crate) fn is_complete(&self, app: &App) -> bool {
        self.place >= app.channels.capacity()
    }

    fn covers(&self, name: &str) -> bool {
        self.search.is_empty() || name.contains(&self.search) || {
            // Only names with capitals need a copy.
            name.bytes().any(|b| b.is_ascii_uppercase())
                && name.to_ascii_lowercase().contains(&self.search)
        }
    }

    /// Adds a channel to the page, if it belongs there.
    fn consider(&mut self, channel: &Channel) {
        let users = channel.presence.as_deref().map(|presence| presence.len());
        let subscribers = channel.subscriptions();
        let count = match self.sort {
            Sort::Name => 0,
            Sort::Subscribers => subscribers,
            Sort::Users => users.unwrap_or(0) as u64,
        };
        let is_after = |entry: &Entry| self.compare((count, &channel.name), entry).is_gt();
        if self.after.as_ref().is_some_and(|after| !is_after(after))
            || (self.entries.len() > PAGE && self.entries.last().is_some_and(is_after))
        {
            return;
        }
        let at = self.entries.partition_point(is_after);
        let name = channel.name.to_string();
        self.entries.insert(at, Entry { count, name, subscribers, users });
        // One more than the page shows whether there is a next one.
        self.entries.truncate(PAGE + 1);
    }

    /// Compares by count and name, in the order of the list.
    fn compare(&self, (count, name): (u64, &str), entry: &Entry) -> Ordering {
        let by_count = count.cmp(&entry.count);
        let by_name = name.cmp(&entry.name);
        match (self.sort, self.is_descending) {
            (Sort::Name, false) => by_name,
            (Sort::Name, true) => by_name.reverse(),
            (_, false) => by_count.then(by_name),
            (_, true) => by_count.reverse().then(by_name),
        }
    }
}

/// Channels on a page.
pub(crate) const PAGE: usize = 100;
/// Places visited before other connections have their turn: a fifth of a millisecond.
const PLACES_PER_VISIT: usize = 4_096;
