//! What a server is given before it runs, beside its configuration.

use std::io;

use super::Server;
use crate::config::Config;
use crate::config::laravel::{PulseStream, RestartKey};
use crate::hub::Listener;
use crate::net::pulse::Pulse;
use crate::net::restart_key;
use crate::net::systemd::SdNotify;

impl Server {
    /// Has this listener told what happens.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.hub.listen(listener);
    }

    /// Has systemd told how it is.
    pub fn notify(&mut self, notices: SdNotify) {
        self.notices = Some(notices);
    }

    /// Makes this server stop when `php artisan reverb:restart` asks for a restart.
    ///
    /// # Errors
    ///
    /// The system's, when it has no thread to give.
    pub fn watch_restarts(&mut self, key: RestartKey) -> io::Result<()> {
        self.restarts = restart_key::watch(key, &self.limits, self.stopper()?)?;
        Ok(())
    }

    /// Has this server feed the messages card of Laravel Pulse.
    ///
    /// # Errors
    ///
    /// The system's, when it has no thread to give.
    pub fn feed_pulse(&mut self, stream: PulseStream, config: &Config) -> io::Result<()> {
        self.pulse = Some(Pulse::start(stream, config)?);
        Ok(())
    }
}
