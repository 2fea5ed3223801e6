//! The file in which a server writes what `/proc` does not have on this system: the addresses it
//! listens at, its configuration file and its open-file limit. Its name has the process id.
//!
//! The server keeps the file locked. The system knows which process has a lock, and releases it when
//! that process ends. So neither a file that was left behind counts as a server, nor another process
//! with the same id.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use super::super::runtime_folder;
use super::listening::{Listening, Process};
use crate::config::Server;
use crate::net::sys;

/// The file of this process, locked. It is removed when this value is dropped, which does not happen
/// when the process executes its successor, which then writes its own.
pub(in crate::commands) struct PidFile {
    path: PathBuf,
    _locked: File,
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // This fails if the file has been removed already.
        _ = fs::remove_file(&self.path);
    }
}

impl PidFile {
    /// Writes the file of this process in the first of these folders that can be used. `listens` are
    /// the names of the addresses, `config` is the configuration file that the flags name.
    ///
    /// # Errors
    ///
    /// No folder can be used; the text names the last one.
    pub fn write(
        folders: &[PathBuf],
        listens: impl Iterator<Item = String>,
        config: Option<&Path>,
        open_files: u64,
    ) -> io::Result<Self> {
        let mut text = format!("{OPEN_FILES}{open_files}\n").into_bytes();
        for name in listens {
            text.extend(format!("{LISTENS}{name}\n").bytes());
        }
        // Without links, and not relative to the folder of this process.
        if let Some(config) = config.and_then(|path| fs::canonicalize(path).ok()) {
            text.extend([CONFIG.as_bytes(), config.as_os_str().as_bytes(), b"\n"].concat());
        }
        let (path, file) = runtime_folder::write(folders, &name_of(process::id()), &text)?;
        sys::lock(&file)?;
        Ok(PidFile { path, _locked: file })
    }

    /// The folder of the file.
    pub fn folder(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("/")).to_owned()
    }
}

/// What a running server has written.
struct Record {
    process: i32,
    folder: PathBuf,
    user: u32,
    text: Vec<u8>,
}

impl Record {
    /// The values with this key.
    fn values<'a>(&'a self, key: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.text.split(|byte| *byte == b'\n');
        lines.filter_map(|line| line.strip_prefix(key.as_bytes()))
    }

    fn reads(&self, file: &Path) -> bool {
        let file = fs::canonicalize(file).unwrap_or(file.to_owned());
        self.values(CONFIG).any(|path| OsStr::from_bytes(path) == file)
    }

    fn open_files(&self) -> Option<u64> {
        str::from_utf8(self.values(OPEN_FILES).next()?).ok()?.parse().ok()
    }
}

pub(super) fn listening_at(server: &Server) -> io::Result<Listening> {
    let (mut addresses, mut paths) = (Vec::new(), Vec::new());
    for host in server.hosts() {
        match host.starts_with('/') {
            true => paths.push(host),
            false => addresses.extend((host, server.port).to_socket_addrs()?),
        }
    }
    let names = addresses.iter().map(SocketAddr::to_string);
    let names: Vec<String> = names.chain(paths.iter().map(|path| format!("unix:{path}"))).collect();
    let processes = listening_in(&runtime_folder::readable(), &names);
    // A server of another user, whose files are not readable, accepts connections all the same.
    let is_open = !processes.is_empty()
        || addresses.iter().any(|at| TcpStream::connect_timeout(at, CONNECT_TIMEOUT).is_ok())
        || paths.iter().any(|path| UnixStream::connect(path).is_ok());
    Ok(Listening { is_open, processes })
}

/// The servers that have written in these folders, each with its user, that they listen at one of these
/// addresses.
fn listening_in(folders: &[(PathBuf, u32)], names: &[String]) -> Vec<Process> {
    let is_wanted = |name: &[u8]| names.iter().any(|wanted| wanted.as_bytes() == name);
    let found = records(folders).filter(|record| record.values(LISTENS).any(is_wanted));
    let name = env!("CARGO_PKG_NAME");
    found.map(|record| Process { id: record.process, name: name.into(), is_server: true }).collect()
}

pub(super) fn reads(process: i32, file: &Path) -> Option<bool> {
    record_of(process).map(|record| record.reads(file))
}

pub(super) fn open_files(process: i32) -> Option<u64> {
    record_of(process)?.open_files()
}

pub(super) fn runtime_folders(process: i32) -> io::Result<(Vec<PathBuf>, u32)> {
    let record = record_of(process).ok_or_else(|| io::Error::other("the server has ended"))?;
    Ok((vec![record.folder], record.user))
}

fn record_of(process: i32) -> Option<Record> {
    let folders = runtime_folder::readable();
    records(&folders).find(|record| record.process == process)
}

/// What the running servers have written in these folders.
fn records(folders: &[(PathBuf, u32)]) -> impl Iterator<Item = Record> {
    folders.iter().flat_map(|(folder, user)| {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let process: i32 = name.strip_prefix(PREFIX)?.parse().ok()?;
            let file = runtime_folder::open(folder, &name, *user).ok()??;
            let mut text = Vec::new();
            (&file).take(BYTES_MAX).read_to_end(&mut text).ok()?;
            let is_running = sys::lock_owner(&file).ok()? == Some(process);
            is_running.then(|| Record { process, folder: folder.clone(), user: *user, text })
        })
    })
}

fn name_of(process: u32) -> String {
    format!("{PREFIX}{process}")
}

const PREFIX: &str = "server-";
const LISTENS: &str = "listens ";
const CONFIG: &str = "config ";
const OPEN_FILES: &str = "open-files ";
/// The longest wait for a connection to one address of this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The most bytes of a file that are read: the paths of some hosts, at most 4,096 bytes each.
const BYTES_MAX: u64 = 65_536;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use super::*;

    /// A folder of this user, removed when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("reverb-pid-file-{}-{name}", process::id());
            Folder(std::env::temp_dir().join(name))
        }

        fn servers_at(&self, name: &str) -> Vec<i32> {
            let folders = [(self.0.clone(), runtime_folder::own_user())];
            let found = listening_in(&folders, &[name.to_owned()]);
            found.into_iter().map(|process| process.id).collect()
        }

        fn file_of(&self, process: u32) -> PathBuf {
            self.0.join(name_of(process))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Another process that has written its file, until it is dropped.
    struct Other(Child, BufReader<ChildStdout>);

    impl Other {
        fn start(folder: &Folder) -> Self {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg("commands::processes::pid_file::tests::a_server_is_found_until_it_ends")
                .env(FOLDER, &folder.0)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let mut child = child.unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let mut other = Other(child, output);
            let mut line = String::new();
            while !line.contains("the file is written") {
                line.clear();
                assert_ne!(other.1.read_line(&mut line).unwrap(), 0, "it has ended");
            }
            other
        }

        fn id(&self) -> i32 {
            self.0.id().cast_signed()
        }

        /// Ends it by SIGKILL, so that its file stays.
        fn kill(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }

        /// Ends it as a server ends.
        fn stop(&mut self) {
            drop(self.0.stdin.take());
            self.0.wait().unwrap();
        }
    }

    impl Drop for Other {
        fn drop(&mut self) {
            _ = self.0.kill();
            _ = self.0.wait();
        }
    }

    const FOLDER: &str = "REVERB_TEST_FOLDER";

    /// What an [`Other`] does: a lock is that of a process, so a thread cannot take its place.
    fn serve(folder: PathBuf) {
        let listens = ["127.0.0.1:8080", "unix:/run/a b.sock"].map(str::to_owned).into_iter();
        let config = std::env::current_exe().unwrap();
        let _file = PidFile::write(&[folder], listens, Some(&config), 1_024).unwrap();
        println!("\nthe file is written");
        _ = io::stdin().read(&mut [0]);
    }

    /// The first of the tests is also the program of each [`Other`].
    #[test]
    fn a_server_is_found_until_it_ends() {
        if let Some(folder) = std::env::var_os(FOLDER) {
            return serve(folder.into());
        }
        let folder = Folder::new("found");
        let (mut one, two) = (Other::start(&folder), Other::start(&folder));
        for name in ["127.0.0.1:8080", "unix:/run/a b.sock"] {
            let mut found = folder.servers_at(name);
            found.sort_unstable();
            let mut both = [one.id(), two.id()];
            both.sort_unstable();
            assert_eq!(found, both, "{name}");
        }
        for name in ["127.0.0.1:808", "127.0.0.1:80800", "unix:/run/a", ""] {
            assert!(folder.servers_at(name).is_empty(), "{name}");
        }
        one.stop();
        assert_eq!(folder.servers_at("127.0.0.1:8080"), [two.id()]);
        assert!(!folder.file_of(one.0.id()).exists());
    }

    #[test]
    fn neither_a_file_left_behind_nor_another_process_with_its_id_is_a_server() {
        let folder = Folder::new("stale");
        let mut killed = Other::start(&folder);
        killed.kill();
        let left_behind = folder.file_of(killed.0.id());
        assert!(left_behind.exists());
        assert!(folder.servers_at("127.0.0.1:8080").is_empty());
        // Another process has got the id, which runs, but has not locked the file.
        let runs = Other::start(&folder);
        let theirs = folder.file_of(runs.0.id());
        fs::copy(&left_behind, folder.file_of(process::id())).unwrap();
        assert_eq!(folder.servers_at("127.0.0.1:8080"), [runs.id()]);
        // A file with another id than that of the process that has locked it.
        fs::rename(&theirs, &left_behind).unwrap();
        assert!(folder.servers_at("127.0.0.1:8080").is_empty());
    }

    #[test]
    fn the_file_says_what_the_server_reads_and_may_open() {
        let folder = Folder::new("contents");
        let other = Other::start(&folder);
        let user = runtime_folder::own_user();
        let record = records(&[(folder.0.clone(), user)]).next().unwrap();
        assert_eq!((record.process, record.open_files()), (other.id(), Some(1_024)));
        // The other process names its program, as a file that exists.
        let program = std::env::current_exe().unwrap();
        let detour = program.parent().unwrap().join(".").join(program.file_name().unwrap());
        assert!(record.reads(&detour));
        assert!(!record.reads(Path::new("/etc/passwd")));
    }

    #[test]
    fn only_the_user_of_the_server_can_read_the_file() {
        let folder = Folder::new("mode");
        let other = Other::start(&folder);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.0), 0o700);
        assert_eq!(mode(&folder.file_of(other.0.id())), 0o600);
        // The files in a folder of another user do not count.
        let stranger = fs::metadata(&folder.0).unwrap().uid() + 1;
        let folders = [(folder.0.clone(), stranger)];
        assert!(listening_in(&folders, &["127.0.0.1:8080".into()]).is_empty());
    }
}
