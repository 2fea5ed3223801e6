//! Reads the files of the folder of apps (`apps_dir`), again and again: lists the folder, and reads
//! what has changed since the last time. What the files mean is in `apps_folder`.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::apps_folder::{
    AppsFolder, Changes, Content, FILE_BYTES_MAX, FILES_MAX, Scan, is_app_file, too_long,
};
use super::{App, Error};

/// The folder, and what is known of its files.
#[derive(Debug)]
pub struct AppsFiles {
    path: PathBuf,
    known: BTreeMap<String, Known>,
    folder: AppsFolder,
}

/// What is known of a file.
#[derive(Debug, PartialEq)]
struct Known {
    /// The file as it was when it was read; `None` if it must be read again in any case.
    stamp: Option<Stamp>,
    /// A hash of the content, or of the error.
    hash: u64,
}

/// What changes when a file is written or replaced.
#[derive(Debug, PartialEq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

impl AppsFiles {
    /// A folder that has not been read, beside the apps of the configuration itself. `kept` are the
    /// last good apps of files, as an earlier process had them.
    pub fn new(path: PathBuf, own: &[App], kept: Vec<(String, Vec<App>)>) -> Self {
        let mut folder = AppsFolder::new(own);
        kept.into_iter().for_each(|(name, apps)| folder.keep(&name, apps));
        AppsFiles { path, known: BTreeMap::new(), folder }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The apps and errors of the files, as of the last scan.
    pub fn folder(&self) -> &AppsFolder {
        &self.folder
    }

    /// Why there is no app, for an error.
    pub(super) fn no_app(&self) -> String {
        let folder = self.path.display();
        let text = format!("the folder {folder} (REVERB_APPS_DIR) has no app either");
        match self.folder.bad().next() {
            None => text,
            Some((_, error, _)) => format!("{text}: {error}"),
        }
    }

    /// A line for each bad file.
    pub fn bad(&self) -> Vec<String> {
        self.folder.bad().map(|(_, error, apps)| self.line(error, apps.len())).collect()
    }

    /// The line about a bad file, of which this many apps stay.
    pub fn line(&self, error: &Error, apps: usize) -> String {
        let consequence = match apps {
            0 => "none of its apps is served",
            _ => "its last good state stays",
        };
        format!("{}/{error}; {consequence}", self.path.display())
    }

    /// Sets the apps of the configuration itself, from the next scan on.
    pub fn set_own(&mut self, own: &[App]) {
        self.folder.set_own(own);
    }

    /// Reads what has changed.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed, or has too many files. Nothing has changed then.
    pub fn scan(&mut self) -> Result<Changes, Error> {
        let names = self.list()?;
        let mut scan = Scan::new();
        let mut known = BTreeMap::new();
        for name in names {
            let last = self.known.remove(&name);
            let Some((content, now)) = self.read(&name, last) else { continue };
            known.insert(name.clone(), now);
            scan.insert(name, content);
        }
        self.known = known;
        Ok(self.folder.scan(scan))
    }

    fn list(&self) -> Result<Vec<String>, Error> {
        let failed =
            |error| Error::new(self.path.display(), SETTING, format!("cannot be listed: {error}"));
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().into_string();
            names.extend(name.ok().filter(|name| is_app_file(name)));
            if names.len() > FILES_MAX {
                let reason = format!("has more than {FILES_MAX} files: put several apps into one");
                return Err(Error::new(self.path.display(), SETTING, reason));
            }
        }
        Ok(names)
    }

    /// The content of a file if it has changed, and what is known now; `None` if the file is gone.
    fn read(&self, name: &str, last: Option<Known>) -> Option<(Option<Content>, Known)> {
        let path = self.path.join(name);
        let found = match fs::metadata(&path) {
            Ok(found) => Ok(found),
            // A link to a file that is missing is still there.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::symlink_metadata(&path).ok()?;
                Err(error)
            }
            Err(error) => Err(error),
        };
        let stamp = found.as_ref().ok().and_then(Stamp::of);
        match last {
            Some(last) if stamp.is_some() && last.stamp == stamp => return Some((None, last)),
            _ => {}
        }
        let shown = name.escape_debug();
        let unreadable = |error| Error::whole(&shown, format_args!("cannot be read: {error}"));
        let content = found.map_err(unreadable).and_then(|found| match found.is_file() {
            // Not read every time: the file stays too long.
            true if found.len() > FILE_BYTES_MAX => Err(too_long(&shown)),
            true => read_text(&path, name),
            false => Err(Error::whole(&shown, "is not a file")),
        });
        let mut hasher = DefaultHasher::new();
        let (content, stamp) = match content {
            Ok((text, stamp)) => {
                text.hash(&mut hasher);
                (Ok(text), stamp)
            }
            // What was wrong, such as permissions, may end without a new time.
            Err(error) => {
                error.to_string().hash(&mut hasher);
                (Err(error), None)
            }
        };
        let known = Known { stamp, hash: hasher.finish() };
        let is_same = last.is_some_and(|last| last.hash == known.hash);
        Some(((!is_same).then_some(content), known))
    }
}

impl Stamp {
    /// `None` if the file was written so recently that a later write could get the same time.
    fn of(found: &Metadata) -> Option<Self> {
        let modified = found.modified().ok()?;
        let age = SystemTime::now().duration_since(modified).ok()?;
        let stamp = Stamp { modified, bytes: found.size(), inode: found.ino() };
        (age >= SETTLED).then_some(stamp)
    }
}

/// The text of a file, with its stamp from before it was read.
fn read_text(path: &Path, name: &str) -> Result<(String, Option<Stamp>), Error> {
    let shown = name.escape_debug();
    let failed = |error| Error::whole(&shown, format_args!("cannot be read: {error}"));
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(too_long(shown));
    }
    let text = String::from_utf8(bytes).map_err(|_| Error::whole(shown, "is not UTF-8"))?;
    Ok((text, Stamp::of(&found)))
}

/// The name of the setting, in errors.
pub(super) const SETTING: &str = "apps_dir";
/// A file that was written within this time is read again. The times of some file systems are whole
/// seconds, or even numbers of them, so a second write could have the same.
const SETTLED: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("reverb-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn app(id: &str) -> String {
        crate::config::render::app_file(&App::new(id, format!("key-{id}"), "s"))
    }

    fn ids(files: &AppsFiles) -> Vec<&str> {
        files.folder.apps().map(|app| &*app.id).collect()
    }

    #[test]
    fn only_files_with_other_content_count_as_changed() {
        let folder = Folder::new("apps-files");
        let mut files = AppsFiles::new(folder.0.clone(), &[], Vec::new());
        folder.write("a.json", &app("1"));
        for name in [".b.json", "c.json~", "d.txt", "json"] {
            folder.write(name, &app("2"));
        }
        assert_eq!(files.scan().unwrap().put.len(), 1);
        assert_eq!(files.folder.files(), 1);
        folder.write("a.json", &app("1"));
        assert_eq!(files.scan().unwrap(), Changes::default());
        // Of the same length, and within the same second.
        folder.write("a.json", &app("3"));
        files.scan().unwrap();
        assert_eq!(ids(&files), ["3"]);
        let old = SystemTime::now() - Duration::from_secs(9);
        let file = File::options().write(true).open(folder.0.join("a.json")).unwrap();
        file.set_modified(old).unwrap();
        assert_eq!(files.scan().unwrap(), Changes::default());
        assert!(files.known["a.json"].stamp.is_some());
        fs::rename(folder.0.join("a.json"), folder.0.join("z.json")).unwrap();
        assert_eq!(files.scan().unwrap(), Changes::default());
        assert_eq!(ids(&files), ["3"]);
    }

    #[test]
    fn what_is_no_readable_text_is_a_bad_file() {
        let folder = Folder::new("apps-odd");
        let mut files = AppsFiles::new(folder.0.clone(), &[], Vec::new());
        fs::create_dir(folder.0.join("a.json")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.0.join("b.json")).unwrap();
        fs::write(folder.0.join("c.json"), b"\xff").unwrap();
        let long = File::create(folder.0.join("d.json")).unwrap();
        long.set_len(FILE_BYTES_MAX + 1).unwrap();
        let bad: Vec<_> =
            files.scan().unwrap().bad.iter().map(|(error, _)| error.to_string()).collect();
        assert_eq!(bad[0], "a.json: is not a file");
        assert!(bad[1].starts_with("b.json: cannot be read: "), "{}", bad[1]);
        assert_eq!(bad[2], "c.json: is not UTF-8");
        assert!(bad[3].starts_with("d.json: is longer than 16777216 bytes"), "{}", bad[3]);
        assert_eq!(files.scan().unwrap(), Changes::default());
        fs::remove_dir_all(&folder.0).unwrap();
        let error = files.scan().unwrap_err().to_string();
        assert!(error.contains("apps_dir: cannot be listed: "), "{error}");
        assert_eq!(files.folder.files(), 4);
    }
}
