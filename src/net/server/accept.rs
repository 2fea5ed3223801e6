//! Those who come: accepted from within a budget, and handed to the hub.

use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::Server;
use crate::config::Bound;
use crate::hub::{ConnId, Now};
use crate::net::listen::NotAccepted;
use crate::net::socket::Socket;
use crate::net::tls::Tls;

impl Server {
    /// Accepts those who wait, so many a turn: those who are in have a turn as well.
    pub(super) fn accept(&mut self, now: Now) {
        if self.listen.retry_ms.is_some_and(|retry_ms| retry_ms <= now.ms) {
            self.listen.ready = true;
        }
        for _ in 0..self.limits.accepts_per_turn {
            if !self.listen.ready {
                return;
            }
            match self.listen.accept(now.ms) {
                Ok((stream, address)) => {
                    self.take_in(stream, address, now);
                    if std::mem::take(&mut self.listen.cut_short) {
                        let per_turn = self.limits.accepts_per_turn.into();
                        self.hub.hit(Bound::AcceptsPerTurn, per_turn, Some(address.ip()), now);
                    }
                }
                Err(NotAccepted::Exhausted { untold, error }) => {
                    self.hub.counters_mut().accept_failures += 1;
                    let Some(untold) = untold else { return };
                    let connections = self.hub.connections();
                    log::error!(
                        "cannot accept connections beside the {connections} there are: {error}; \
                         those who come wait until some have gone (tried {untold} times more since \
                         the last such line)"
                    );
                }
                Err(NotAccepted::None) => return,
            }
        }
        self.listen.cut_short = true;
    }

    fn take_in(&mut self, stream: TcpStream, address: SocketAddr, now: Now) {
        let tls = self.secure.as_ref().map(|secure| Box::new(secure.session(address)));
        self.keep(stream, address, tls, now);
    }

    pub(super) fn keep(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        tls: Option<Box<Tls>>,
        now: Now,
    ) -> ConnId {
        let id = self.hub.open(Socket::new(stream, tls), Some(address.ip()), now);
        let Some(socket) = self.hub.io(id) else { return id };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(id.0 as usize);
        // What has come already is told by the poller's first event, at the next turn.
        if let Err(error) = self.poll.registry().register(&mut socket.stream, token, interest) {
            log::error!("cannot watch a connection: {error}");
            self.to_reap.push(id);
        }
        id
    }
}
