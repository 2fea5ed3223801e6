//! The files of the folder with apps: reading all of them, and writing one. A reader never sees a part
//! of a file, and two commands never write at once.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::apps_folder::{FILE_BYTES_MAX, is_app_file, parse_file, too_long};
use super::{App, Error, Findings, json_text, render};

/// Why a folder was not read or changed.
#[derive(Debug)]
pub enum EditError {
    /// A file, or what was to be written, is invalid.
    Invalid(Error),
    /// A file is there already.
    Exists(String),
    /// A command is editing the folder.
    Busy(String),
    /// The system has refused something.
    AtWork(String),
}

impl From<Error> for EditError {
    fn from(error: Error) -> Self {
        EditError::Invalid(error)
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::Invalid(error) => error.fmt(f),
            EditError::Exists(text) | EditError::Busy(text) | EditError::AtWork(text) => {
                f.write_str(text)
            }
        }
    }
}

/// The folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// A file of the folder.
pub struct AppFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its contents: an app or a list of apps.
    pub tree: Value,
    /// Its apps, in the order of the list.
    pub apps: Vec<App>,
}

/// What a folder has.
#[derive(Default)]
pub struct Contents {
    /// The valid files, by name.
    pub files: Vec<AppFile>,
    /// What is wrong with the other files.
    pub problems: Vec<Error>,
    /// What is wrong with valid files.
    pub findings: Findings,
    /// Which file has each id and each key, by its place.
    holders: HashMap<(&'static str, String), usize>,
}

impl Folder {
    /// The folder at this path.
    pub fn new(path: PathBuf) -> Self {
        Folder { path }
    }

    /// The path of a file, as text.
    pub fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Waits until no other command edits the folder. The lock ends when the result is dropped.
    pub fn lock(&self) -> Result<File, EditError> {
        let path = self.path.join(LOCK);
        let opened = self.open_lock(&path).and_then(|file| {
            file.lock()?;
            Ok(file)
        });
        opened.map_err(|error| unlocked(&path, error))
    }

    /// Locks the folder as [`Folder::lock`] does, but gives up after two seconds.
    pub fn lock_soon(&self) -> Result<File, EditError> {
        const PAUSE: Duration = Duration::from_millis(50);
        let path = self.path.join(LOCK);
        let file = self.open_lock(&path).map_err(|error| unlocked(&path, error))?;
        for _ in 0..40 {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(unlocked(&path, error)),
            }
        }
        let text = format!("{}: a command is editing the folder; try again", path.display());
        Err(EditError::Busy(text))
    }

    /// Opens the file to lock. No link is followed, and only a file that this command has created is
    /// given away: the owner of the folder must not make root do that to another file.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        match options.clone().create_new(true).open(path) {
            Ok(file) => {
                self.give_to_owner(&file)?;
                Ok(file)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(path),
            Err(error) => Err(error),
        }
    }

    /// Reads all files.
    pub fn read(&self) -> Result<Contents, EditError> {
        let unreadable = |error: io::Error| {
            let text = format!("{self}: cannot be read: {error}; is apps_dir the right folder?");
            EditError::AtWork(text)
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            // The server reads no file whose name is not UTF-8.
            names.extend(name.into_string().ok().filter(|name| is_app_file(name)));
        }
        names.sort();
        let mut contents = Contents::default();
        for name in names {
            let path = self.path.join(name);
            match read_file(&path, &mut contents.findings) {
                Ok(file) => contents.add(file),
                // Removed since the folder was read.
                Err(None) => {}
                Err(Some(error)) => contents.problems.push(error),
            }
        }
        Ok(contents)
    }

    /// The name of the file of a new app.
    pub fn file_of(&self, id: &str) -> Result<String, EditError> {
        let mut name = String::new();
        for (at, byte) in id.bytes().enumerate() {
            match byte {
                b'.' if at > 0 => name.push('.'),
                b'-' | b'_' => name.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
                _ => name.push_str(&format!("%{byte:02X}")),
            }
        }
        if name.len() > NAME_BYTES {
            let reason = format!("is too long for the name of a file: {NAME_BYTES} characters");
            return Err(Error::new("app", "id", reason).into());
        }
        Ok(name + ".json")
    }

    /// Writes a file that does not exist yet.
    pub fn write_new(&self, name: &str, text: &str) -> Result<(), EditError> {
        self.must_not_have(name)?;
        let path = self.path.join(name);
        self.replace(&path, false, text).map_err(|error| unwritten(&path, error))
    }

    /// Fails if a file with this name exists.
    pub fn must_not_have(&self, name: &str) -> Result<(), EditError> {
        let path = self.path.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(unwritten(&path, error)),
            Ok(_) => {
                let text = format!("{}: exists already; it was not changed", path.display());
                Err(EditError::Exists(text))
            }
        }
    }

    /// Writes the changed contents of a file.
    pub fn rewrite(&self, file: &AppFile) -> Result<(), EditError> {
        let text = render::tree(&file.tree);
        // A mistake of this program must not end in a file that the server does not read.
        let (apps, _) = parse_file(&file.path.display().to_string(), &text)?;
        if apps != file.apps {
            let text =
                format!("{}: the change did not have its effect (a bug)", file.path.display());
            return Err(EditError::AtWork(text));
        }
        self.replace(&file.path, true, &text).map_err(|error| unwritten(&file.path, error))
    }

    /// Removes the app at this place of a file; the file as well, unless it is a list.
    pub fn remove_app(&self, file: &mut AppFile, at: usize) -> Result<(), EditError> {
        if let Value::Array(list) = &mut file.tree {
            list.remove(at);
            file.apps.remove(at);
            return self.rewrite(file);
        }
        let removed = fs::remove_file(&file.path).and_then(|()| sync(&self.path));
        removed.map_err(|error| unwritten(&file.path, error))
    }

    /// Writes a file in one step. A file that exists keeps its owner, its group and its mode.
    fn replace(&self, path: &Path, exists: bool, text: &str) -> io::Result<()> {
        // A link stays, and the file that it names is replaced.
        let path = if exists { fs::canonicalize(path)? } else { path.to_owned() };
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let temporary = path.with_file_name(name);
        // A command that was killed has left it: nothing else writes here while the lock lasts.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = match exists {
            true => write_like(&path, true, &temporary, text.as_bytes(), 0o600),
            false => self.write_own(&temporary, text.as_bytes()),
        };
        let written = written
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync(path.parent().unwrap_or(&self.path)));
        if written.is_err() {
            // The first error is the one to report.
            _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Writes a new file, with the mode and the owner of new files.
    fn write_own(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(self.mode()?).open(path)?;
        self.give_to_owner(&file)?;
        file.write_all(text)?;
        file.sync_all()
    }

    /// The mode of a new file. In a folder with the setgid bit, files belong to the group of the
    /// folder, so that the group may read them.
    fn mode(&self) -> io::Result<u32> {
        const SETGID: u32 = 0o2000;
        let is_shared = fs::metadata(&self.path)?.mode() & SETGID != 0;
        Ok(if is_shared { 0o640 } else { 0o600 })
    }

    /// Gives a new file of root to the owner of the folder: the server, which may be another user, must
    /// be able to read it.
    fn give_to_owner(&self, file: &File) -> io::Result<()> {
        let (folder, own) = (fs::metadata(&self.path)?, file.metadata()?);
        const ROOT: u32 = 0;
        if own.uid() == ROOT && folder.uid() != ROOT {
            fchown(file, Some(folder.uid()), Some(folder.gid()))?;
        }
        Ok(())
    }
}

impl Contents {
    /// The first file that has such an app.
    pub fn file_with(&self, is_it: impl Fn(&App) -> bool) -> Option<&AppFile> {
        self.files.iter().find(|file| file.apps.iter().any(&is_it))
    }

    /// Where the app with this id is: the file, and the place there. More than one if several files
    /// have it.
    pub fn places_of(&self, id: &str) -> Vec<(usize, usize)> {
        let place = |file: &AppFile| file.apps.iter().position(|app| app.id == id);
        let places = self.files.iter().enumerate().map(|(at, file)| Some((at, place(file)?)));
        places.flatten().collect()
    }

    /// Adds a file, and a problem for each app of it that an earlier file has.
    fn add(&mut self, file: AppFile) {
        for app in &file.apps {
            let mut same = None;
            for (key, value) in [("app_id", &app.id), ("key", &app.key)] {
                let holder = self.holders.entry((key, value.clone()));
                let holder = *holder.or_insert_with(|| self.files.len());
                same = same.or_else(|| Some((key, value, self.files.get(holder)?)));
            }
            if let Some((key, value, other)) = same {
                let reason = format!("{value} is the same as in {}", other.path.display());
                self.problems.push(Error::new(file.path.display(), key, reason));
            }
        }
        self.files.push(file);
    }
}

/// Reads a file; the error is `None` if it does not exist.
fn read_file(path: &Path, findings: &mut Findings) -> Result<AppFile, Option<Error>> {
    let source = path.display().to_string();
    let unreadable = |error| Error::whole(&source, format_args!("cannot be read: {error}"));
    let text = match fs::metadata(path) {
        // A link to nothing exists.
        Err(_) if fs::symlink_metadata(path).is_err() => return Err(None),
        Err(error) => return Err(Some(unreadable(error))),
        Ok(found) if !found.is_file() => return Err(Some(Error::whole(source, "is not a file"))),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(Some(too_long(source))),
        Ok(_) => fs::read_to_string(path).map_err(|error| Some(unreadable(error)))?,
    };
    let (apps, found) = parse_file(&source, &text).map_err(Some)?;
    findings.extend(found);
    let tree = json_text::parse(&source, &text).map_err(Some)?;
    Ok(AppFile { path: path.to_owned(), tree, apps })
}

fn unlocked(path: &Path, error: io::Error) -> EditError {
    let hint = match error.kind() {
        ErrorKind::NotFound => "; create the folder, and make the user of the server its owner",
        ErrorKind::PermissionDenied => "; run this as the owner of the folder, or as root",
        _ => "",
    };
    EditError::AtWork(format!("{}: cannot be locked: {error}{hint}", path.display()))
}

fn unwritten(path: &Path, error: io::Error) -> EditError {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "; run this as the owner of the file, or as root",
        _ => "",
    };
    EditError::AtWork(format!("{}: cannot be written: {error}{hint}", path.display()))
}

/// Writes the names of a folder to the disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The file that commands lock.
const LOCK: &str = ".lock";
/// The longest name of a new file, without its ending. File systems allow 255 with the ending and that
/// of the temporary file.
const NAME_BYTES: usize = 200;

/// Writes a new file. With `exists`, it gets the owner and the mode of `model`.
pub fn write_like(
    model: &Path,
    exists: bool,
    path: &Path,
    text: &[u8],
    mode: u32,
) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if exists {
        let model = fs::metadata(model)?;
        let own = file.metadata()?;
        if (model.uid(), model.gid()) != (own.uid(), own.gid()) {
            fchown(&file, Some(model.uid()), Some(model.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(model.mode() & 0o7777))?;
    }
    file.write_all(text)?;
    file.sync_all()
}
