//! Applies the apps and limits of a new configuration to a running server. Every connection stays
//! open, including those with TLS, except the connections of removed apps. Settings that took
//! effect when the server was bound are not changed.

use mio::{Interest, Token};

use crate::config::Config;
use crate::hub::{ConnId, Now, Port};
use crate::net::server::Server;
use crate::net::webhooks::Webhooks;

impl Server {
    /// Reads the configuration, and applies it if it can be used.
    pub(super) fn read_configuration(&mut self, now: Now) {
        let Some(read) = &mut self.configuration.read else {
            return log::warn!(
                "reload: no app was configured at the start, so the configuration is not read \
                 again; add an app (`reverb install`) and restart the server"
            );
        };
        match read() {
            Ok(config) => self.reconfigure(config, now),
            Err(why) => {
                log::error!("reload: {why}; the configuration stays as it was");
                self.scan_apps(None);
            }
        }
    }

    fn reconfigure(&mut self, mut config: Config, now: Now) {
        let wanted = config.clone();
        let (old, server) = (&self.configuration.current.server, &mut config.server);
        server.host.clone_from(&old.host);
        server.tls.clone_from(&old.tls);
        server.scaling.clone_from(&old.scaling);
        server.webhook_spool.clone_from(&old.webhook_spool);
        server.console.clone_from(&old.console);
        server.apps_dir.clone_from(&old.apps_dir);
        (server.port, server.reuse_port, server.metrics) = (old.port, old.reuse_port, old.metrics);
        if config.server != wanted.server {
            log::warn!(
                "reload: changed settings of the server did not take effect; the listen addresses \
                 need a restart, apps_dir and the metrics, console, TLS, Redis and spool settings \
                 need `reverb reload`"
            );
        }
        let mut own = self.add_apps_of_folder(&mut config);
        let current = &self.configuration.current;
        let ids = |config: &Config| config.apps.iter().map(|a| a.id.clone()).collect::<Vec<_>>();
        if self.integrations.pulse.is_some() && ids(&config) != ids(current) {
            log::warn!(
                "reload: the app list is unchanged because Pulse is enabled; use `reverb reload`"
            );
            config.apps.clone_from(&current.apps);
            own = None;
        }
        self.descriptors.reserve(Webhooks::descriptors(&config));
        self.descriptors.bound(&mut config.limits);
        if config == *current {
            log::info!("reload: the configuration has not changed");
            return self.scan_apps(own);
        }
        // Reconfiguring would lose the state of the drain in progress.
        if self.hub.is_draining() {
            log::warn!(
                "reload: the configuration stays as it was, because connections are being closed \
                 for a stop or a reload; try again later"
            );
            return self.scan_apps(None);
        }
        let apps = config.apps.len();
        if self.apply(config, now) {
            let plural = if apps == 1 { "" } else { "s" };
            log::info!("reload: applied the configuration, for {apps} app{plural}");
            self.scan_apps(own);
        }
    }

    /// Applies a configuration. Returns `false` after a bug, which has closed all connections.
    pub(in crate::net::server) fn apply(&mut self, config: Config, now: Now) -> bool {
        let Ok(names) = self.hub.reconfigure(&config, now) else {
            log::error!(
                "reload: the configuration could not be applied, and all connections were closed; \
                 please report this bug"
            );
            return false;
        };
        self.rename(&names);
        let limits = &config.limits;
        self.tls.iter_mut().for_each(|tls| tls.check_every(limits.certificate_check_ms, now));
        self.redis.iter_mut().for_each(|redis| redis.set_limits(limits));
        self.webhooks.reconfigure(&config, now);
        self.integrations.set_limits(limits);
        self.configuration.current = config;
        self.apps_replaced();
        true
    }

    /// Gives the connections their new ids: the index in `names` of the old id.
    fn rename(&mut self, names: &[ConnId]) {
        let new = |old: &ConnId| names.binary_search(old).ok().map(|place| ConnId(place as u32));
        self.queues.rename(new);
        for port in [Port::Metrics, Port::Console] {
            let Some(open) = self.listeners.connections_to(port) else { continue };
            *open = open.iter().filter_map(new).collect();
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        for id in (0..names.len() as u32).map(ConnId) {
            let Some(socket) = self.hub.io(id) else { continue };
            let (registry, token) = (self.poll.registry(), Token(id.0 as usize));
            if let Err(error) = registry.reregister(&mut socket.stream, token, interest) {
                log::error!("cannot register a connection with the poller: {error}; closing it");
                self.queues.to_close.push(id);
            }
        }
    }
}
