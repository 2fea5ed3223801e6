//! Applies a new configuration to a running server: apps are added, removed and changed, and so are
//! limits, while every connection stays open, with TLS as well. Settings that took effect when the
//! server was bound stay as they were.

use mio::{Interest, Token};

use crate::config::Config;
use crate::hub::{ConnId, Now};
use crate::net::server::Server;

impl Server {
    /// Reads the configuration, and applies it if it can be used.
    pub(super) fn read_configuration(&mut self, now: Now) {
        let Some(read) = &mut self.configuration.read else {
            return log::warn!(
                "the configuration is not read again: no app was configured at the start; start \
                 the server again once one is (`reverb install`)"
            );
        };
        match read() {
            Ok(config) => self.reconfigure(config, now),
            Err(why) => log::error!("the configuration stays as it was: {why}"),
        }
    }

    fn reconfigure(&mut self, mut config: Config, now: Now) {
        let wanted = config.clone();
        let (old, server) = (&self.configuration.current.server, &mut config.server);
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
        let current = &self.configuration.current;
        let ids = |config: &Config| config.apps.iter().map(|a| a.id.clone()).collect::<Vec<_>>();
        if self.integrations.pulse.is_some() && ids(&config) != ids(current) {
            log::warn!("Pulse is told of the apps there were at the start: others take a reload");
            config.apps.clone_from(&current.apps);
        }
        self.descriptors.bound(&mut config.limits);
        if config == *current {
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
        let limits = &config.limits;
        self.tls.iter_mut().for_each(|tls| tls.check_every(limits.certificate_check_ms, now));
        self.redis.iter_mut().for_each(|redis| redis.set_limits(limits));
        self.integrations.set_limits(limits);
        log::info!("read the configuration anew, for {} apps", config.apps.len());
        self.configuration.current = config;
    }

    /// Renames the connections: the new number of each is the index of the old one in `names`.
    fn rename(&mut self, names: &[ConnId]) {
        let new = |old: &ConnId| names.binary_search(old).ok().map(|place| ConnId(place as u32));
        self.queues.rename(new);
        let metrics = &mut self.listeners.metrics_connections;
        *metrics = metrics.iter().filter_map(new).collect();
        let interest = Interest::READABLE | Interest::WRITABLE;
        for id in (0..names.len() as u32).map(ConnId) {
            let Some(socket) = self.hub.io(id) else { continue };
            let (registry, token) = (self.poll.registry(), Token(id.0 as usize));
            if let Err(error) = registry.reregister(&mut socket.stream, token, interest) {
                log::error!("cannot watch a connection: {error}");
                self.queues.to_close.push(id);
            }
        }
    }
}
