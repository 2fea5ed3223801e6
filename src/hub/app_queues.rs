//! Connections that wait in two lanes, in a queue of its own for each app. Only the apps with such a
//! connection have queues; any other app is four bytes here. Which app is served next is not decided
//! here: see `schedule` for input, and `write_lanes` for output.

use std::collections::VecDeque;

use super::feed::EVERY_APP;
use super::ids::ConnId;

/// The app of a connection that belongs to none: its first request was not served yet, or it is a
/// viewer of the console. Such connections have queues as if they were those of one more app.
pub(crate) const NO_APP: u32 = EVERY_APP;

/// The queues of all apps in two lanes, with a value for each app.
#[derive(Debug)]
pub(crate) struct AppQueues<V> {
    /// The place of each app's queues, by the index of the app plus 1: those of [`NO_APP`] are first.
    places: Vec<u32>,
    queues: Vec<Queues<V>>,
    /// The places of `queues` that no app uses.
    free: Vec<u32>,
}

/// The queues of an app.
#[derive(Debug, Default)]
pub(crate) struct Queues<V> {
    pub app: u32,
    pub lanes: [VecDeque<ConnId>; 2],
    pub value: V,
}

impl<V> Queues<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }
}

impl<V> Default for AppQueues<V> {
    fn default() -> Self {
        AppQueues { places: Vec::new(), queues: Vec::new(), free: Vec::new() }
    }
}

impl<V: Default> AppQueues<V> {
    /// The place of an app's queues; it gets some if it has none.
    #[inline]
    pub(crate) fn place_of(&mut self, app: u32) -> u32 {
        match self.places.get(app.wrapping_add(1) as usize) {
            Some(&at) if at != NONE => at,
            _ => self.open(app),
        }
    }

    #[cold]
    fn open(&mut self, app: u32) -> u32 {
        let at = self.free.pop().unwrap_or(self.queues.len() as u32);
        match self.queues.get_mut(at as usize) {
            Some(queues) => (queues.app, queues.value) = (app, V::default()),
            None => {
                self.queues.push(Queues { app, lanes: Default::default(), value: V::default() })
            }
        }
        let index = app.wrapping_add(1) as usize;
        if index >= self.places.len() {
            // Little more than is needed: most of a thousand apps have nothing to do.
            self.places.reserve_exact(index + 1 - self.places.len() + self.places.len() / 8);
            self.places.resize(index + 1, NONE);
        }
        self.places[index] = at;
        at
    }

    /// The queues of an app that has some.
    pub(crate) fn find(&self, app: u32) -> Option<&Queues<V>> {
        let at = *self.places.get(app.wrapping_add(1) as usize)?;
        self.queues.get(at as usize)
    }

    /// As [`AppQueues::find`].
    pub(crate) fn find_mut(&mut self, app: u32) -> Option<&mut Queues<V>> {
        let at = *self.places.get(app.wrapping_add(1) as usize)?;
        self.queues.get_mut(at as usize)
    }

    #[inline]
    pub(crate) fn at(&self, place: u32) -> &Queues<V> {
        &self.queues[place as usize]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, place: u32) -> &mut Queues<V> {
        &mut self.queues[place as usize]
    }

    /// The number of places, in use or not.
    pub(crate) fn len(&self) -> u32 {
        self.queues.len() as u32
    }

    /// The number of apps that have queues.
    pub(crate) fn apps(&self) -> usize {
        self.queues.len() - self.free.len()
    }

    /// The queues of an app have become empty. A few apps keep theirs: they need them again at once.
    pub(crate) fn emptied(&mut self, place: u32) {
        if self.queues.len() <= KEPT {
            return;
        }
        let queues = &mut self.queues[place as usize];
        let of_app = &mut self.places[queues.app.wrapping_add(1) as usize];
        if *of_app != place {
            return;
        }
        *of_app = NONE;
        queues.lanes.iter_mut().filter(|lane| lane.capacity() > SMALL).for_each(|lane| {
            *lane = VecDeque::new();
        });
        self.free.push(place);
    }

    /// All queues are empty: frees those of more than a few apps.
    pub(crate) fn all_emptied(&mut self) {
        if self.queues.len() <= KEPT {
            return;
        }
        for queues in self.queues.drain(KEPT..) {
            let place = &mut self.places[queues.app.wrapping_add(1) as usize];
            if *place >= KEPT as u32 {
                *place = NONE;
            }
        }
        self.queues.shrink_to_fit();
        self.free.retain(|at| (*at as usize) < KEPT);
        self.free.shrink_to_fit();
    }

    /// Releases the capacity of a lane that a burst of connections has left, where the lane is empty
    /// or `is_any`.
    pub(crate) fn shrink(&mut self, is_any: bool) {
        for lane in self.queues.iter_mut().flat_map(|queues| &mut queues.lanes) {
            match is_any {
                true if lane.capacity() > SMALL => lane.shrink_to_fit(),
                true => {}
                false => free_idle(lane),
            }
        }
    }

    /// The app and the connection of each entry, by lane.
    pub(crate) fn entries(&self) -> [Vec<(u32, ConnId)>; 2] {
        let of = |lane: usize| {
            let of_app = |it: &Queues<V>| it.lanes[lane].iter().map(|id| (it.app, *id)).collect();
            self.queues.iter().flat_map(|it| -> Vec<_> { of_app(it) }).collect()
        };
        [of(0), of(1)]
    }

    /// Checks that each app with queues is found, and each other place is free.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let used = self.places.iter().filter(|at| **at != NONE).count();
        if used != self.apps() {
            return Err(format!("{used} apps have {} queues", self.apps()));
        }
        for (at, queues) in (0..).zip(&self.queues) {
            let is_found = self.places.get(queues.app.wrapping_add(1) as usize) == Some(&at);
            if is_found == self.free.contains(&at) {
                return Err(format!("the queues of app {} are not found", queues.app));
            }
            if !is_found && !queues.is_empty() {
                return Err(format!("the queues of app {} are in use and free", queues.app));
            }
        }
        Ok(())
    }
}

/// Frees the capacity of an empty queue, if it is large.
pub(crate) fn free_idle<I>(queue: &mut VecDeque<I>) {
    if queue.is_empty() && queue.capacity() > IDLE_CAPACITY_MAX {
        *queue = VecDeque::new();
    }
}

/// The place of an app without queues.
const NONE: u32 = u32::MAX;
/// The queues of this many apps are kept while they are empty.
const KEPT: usize = 16;
/// Further ones are kept with at most this capacity in each lane, until all are empty.
const SMALL: usize = 64;
/// A queue of input, or the map of held input, keeps at most this capacity when it is empty.
pub(crate) const IDLE_CAPACITY_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_app_is_four_bytes() {
        let mut queues = AppQueues::<u64>::default();
        for app in (0..20_000).chain([NO_APP]) {
            let at = queues.place_of(app);
            queues.at_mut(at).lanes[0].push_back(ConnId(app));
        }
        assert_eq!(queues.apps(), 20_001);
        queues.audit().unwrap();
        for app in (0..20_000).chain([NO_APP]) {
            let at = queues.place_of(app);
            assert_eq!(queues.at_mut(at).lanes[0].pop_front(), Some(ConnId(app)));
            queues.emptied(at);
            assert!(queues.find(app).is_none());
        }
        queues.audit().unwrap();
        queues.all_emptied();
        queues.audit().unwrap();
        assert!(queues.queues.capacity() <= KEPT && queues.free.capacity() <= KEPT);
        assert!(queues.places.capacity() <= 23_000, "{}", queues.places.capacity());
        // What is left serves again.
        let places = [19_999, 3].map(|app| queues.place_of(app));
        assert_ne!(places[0], places[1]);
        queues.audit().unwrap();
    }

    #[test]
    fn a_few_apps_keep_their_queues() {
        let mut queues = AppQueues::<u64>::default();
        let at = queues.place_of(7);
        queues.at_mut(at).lanes[1].reserve(5_000);
        queues.emptied(at);
        queues.all_emptied();
        assert_eq!(queues.place_of(7), at);
        assert!(queues.at(at).lanes[1].capacity() >= 5_000);
        queues.shrink(false);
        assert_eq!(queues.at(at).lanes[1].capacity(), 0);
    }
}
