//! What was found at the addresses of a server. How it is found is in `linux` and `pid_file`.

/// What listens at the addresses of a server.
#[derive(Default)]
pub(in crate::commands) struct Listening {
    /// Whether a socket listens there, of any user.
    pub is_open: bool,
    /// The processes to which the sockets belong, as far as this user can see them.
    pub processes: Vec<Process>,
}

/// A process that listens at an address.
pub(in crate::commands) struct Process {
    /// The process id.
    pub id: i32,
    /// The name of its program.
    pub name: String,
    /// Whether the program is this one. systemd, for example, keeps the sockets that it has passed to
    /// a server.
    pub is_server: bool,
}

impl Listening {
    /// The ids of the servers.
    pub fn servers(&self) -> Vec<i32> {
        self.processes.iter().filter(|process| process.is_server).map(|p| p.id).collect()
    }
}
