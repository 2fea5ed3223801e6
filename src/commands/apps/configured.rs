//! The configuration of the server as `reverb apps` sees it: its own apps, and the folder with the
//! others.

use crate::commands::Failure;
use crate::config::apps_editor::Folder;
use crate::config::{App, Error, Loaded, variables};

/// The configuration of the server, without the apps of the folder.
pub(super) struct Configured {
    pub loaded: Loaded,
}

impl Configured {
    /// The apps of the configuration.
    pub(super) fn apps(&self) -> &[App] {
        &self.loaded.config.apps
    }

    /// The file or the environment that has these apps.
    pub(super) fn source(&self) -> String {
        let Loaded { config, config_file, environment, artisan, .. } = &self.loaded;
        let of_variables = variables::app(environment).ok().flatten();
        let is_of_variables =
            artisan.is_none() && of_variables.is_some_and(|app| config.apps == [app]);
        match config_file {
            Some(file) if !is_of_variables => file.display().to_string(),
            _ => environment.source("REVERB_APP_ID"),
        }
    }

    /// The folder, if there is one.
    pub(super) fn folder(&self) -> Option<Folder> {
        self.loaded.config.server.apps_dir.clone().map(Folder::new)
    }

    /// The folder, for an action that edits it.
    pub(super) fn folder_to_edit(&self) -> Result<Folder, Failure> {
        self.folder().ok_or_else(|| {
            Failure::from(Error::new(
                "configuration",
                "apps_dir",
                "is not set, so there are no apps to edit: set REVERB_APPS_DIR, or apps_dir in \
                 reverb.json, to the folder with the files of apps",
            ))
        })
    }
}
