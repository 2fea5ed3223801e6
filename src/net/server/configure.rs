//! Another configuration for a server that runs: apps come, go and change, and so do limits, while
//! every connection stays, those of TLS as well. What was decided when the server was bound stays.

use mio::{Interest, Token};

use super::Server;
use crate::config::Config;
use crate::hub::{ConnId, Now};

/// Reads the configuration; says in a line why it cannot be used.
pub(super) type Configure = Box<dyn FnMut() -> Result<Config, String>>;

impl Server {
    /// How the configuration is read when it is asked for anew.
    pub fn configure_by(&mut self, configure: impl FnMut() -> Result<Config, String> + 'static) {
        self.configure = Some(Box::new(configure));
    }

    /// Reads the configuration, and goes on with it if it can be used.
    pub(super) fn read_configuration(&mut self, now: Now) {
        let Some(configure) = &mut self.configure else {
            return log::warn!(
                "the configuration is not read again: no app was configured at the start; start \
                 the server again once one is (`reverb install`)"
            );
        };
        match configure() {
            Ok(config) => self.reconfigure(config, now),
            Err(why) => log::error!("the configuration stays as it was: {why}"),
        }
    }

    fn reconfigure(&mut self, mut config: Config, now: Now) {
        let wanted = config.clone();
        let (old, server) = (&self.config.server, &mut config.server);
        server.host.clone_from(&old.host);
        server.tls.clone_from(&old.tls);
        server.scaling.clone_from(&old.scaling);
        (server.port, server.reuse_port, server.metrics) = (old.port, old.reuse_port, old.metrics);
        if config.server != wanted.server {
            log::warn!(
                "other addresses take a restart, and another port for metrics, options of TLS or \
                 settings of Redis take `reverb reload`: they stay as they were"
            );
        }
        let ids = |config: &Config| config.apps.iter().map(|a| a.id.clone()).collect::<Vec<_>>();
        if self.pulse.is_some() && ids(&config) != ids(&self.config) {
            log::warn!("Pulse is told of the apps there were at the start: others take a reload");
            config.apps.clone_from(&self.config.apps);
        }
        self.files.bound(&mut config.limits);
        if config == self.config {
            return log::info!("read the configuration: nothing has changed");
        }
        // Nobody can be told to go by one hub and be carried over to another.
        if self.hub.is_draining() {
            return log::warn!(
                "the configuration stays as it was: the server is stopping or reloading, and its \
                 connections are told to reconnect"
            );
        }
        let Ok(names) = self.hub.reconfigure(&config, now) else {
            return log::error!("the configuration could not be taken: every connection is lost");
        };
        self.rename(&names);
        self.limits = config.limits.clone();
        let (limits, check_ms) = (&self.limits, config.limits.certificate_check_ms);
        self.secure.iter_mut().for_each(|secure| secure.check_every(check_ms, now));
        self.redis.iter_mut().for_each(|redis| redis.set_limits(limits));
        self.pulse.iter_mut().for_each(|pulse| pulse.set_limits(limits));
        self.restarts.iter().for_each(|restarts| restarts.set_limits(limits));
        log::info!("read the configuration anew, for {} apps", config.apps.len());
        self.config = config;
    }

    /// Knows connections by their new names, which are the places of the old ones.
    fn rename(&mut self, names: &[ConnId]) {
        let new = |old: &ConnId| names.binary_search(old).ok().map(|place| ConnId(place as u32));
        let lists = [&mut self.watchers, &mut self.to_reap];
        lists.into_iter().for_each(|list| *list = list.iter().filter_map(new).collect());
        self.to_shake = self.to_shake.iter().filter_map(new).collect();
        let interest = Interest::READABLE | Interest::WRITABLE;
        for id in (0..names.len() as u32).map(ConnId) {
            let Some(socket) = self.hub.io(id) else { continue };
            let (registry, token) = (self.poll.registry(), Token(id.0 as usize));
            if let Err(error) = registry.reregister(&mut socket.stream, token, interest) {
                log::error!("cannot watch a connection: {error}");
                self.to_reap.push(id);
            }
        }
    }
}
