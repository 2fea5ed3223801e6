//! A row of the table of commands and flags, and the flags that several commands have.

/// A command in the table.
pub struct CommandEntry {
    /// The name to type.
    pub name: &'static str,
    /// The names of its arguments, in capitals, if it has any; in brackets if they are optional.
    pub argument: Option<&'static str>,
    /// What it does: one sentence.
    pub about: &'static str,
    /// The flags that it alone accepts.
    pub own_flags: &'static [Flag],
    /// The flags that it has in common with other commands.
    pub shared_flags: &'static [Flag],
}

impl CommandEntry {
    /// All flags it accepts, in the order of its help.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.own_flags.iter().chain(self.shared_flags)
    }
}

/// A flag of a command.
pub struct Flag {
    /// The name to type, with dashes.
    pub name: &'static str,
    /// The name of its value, in capitals, if it has one. It ends with three dots if the flag may be
    /// given several times, or, if the name has no equals sign, with several values that have commas
    /// between them.
    pub value: Option<&'static str>,
    /// What it does: one sentence or two.
    pub about: &'static str,
}

impl Flag {
    /// Whether the flag may be given several times.
    pub fn repeats(&self) -> bool {
        self.value.is_some_and(|value| value.ends_with("..."))
    }

    /// Whether a value may contain commas.
    pub fn has_commas(&self) -> bool {
        self.value.is_some_and(|value| value.contains('='))
    }
}

pub(super) const HOST: Flag = Flag {
    name: "--host",
    value: Some("HOST"),
    about: "The address the server listens on. Default: that of reverb start.",
};

pub(super) const PORT: Flag = Flag {
    name: "--port",
    value: Some("PORT"),
    about: "The port the server listens on. Default: that of reverb start.",
};

/// The flags that identify a running server.
pub(super) const RUNNING: &[Flag] = &[HOST, PORT, CONFIG, ENV];

pub(super) const CONFIG: Flag = Flag {
    name: "--config",
    value: Some("FILE"),
    about: "The configuration file, see reverb.json(5). Default: reverb.json, if it exists.",
};

pub(super) const ENV: Flag = Flag {
    name: "--env",
    value: Some("FILE"),
    about: "The environment file, or a name: staging stands for .env.staging. Default: .env, or \
            .env.APP_ENV if APP_ENV is set and the file exists.",
};
