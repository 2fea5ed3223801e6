//! The processes that listen at the addresses of a server. `/proc` has them, so that no pid file is
//! needed: its tables of sockets, and the descriptors of each process that this user may see.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use crate::config::Server;

/// The processes that listen at the addresses of this server, as far as this user can see them.
pub(super) fn listening_at(server: &Server) -> Vec<(i32, String)> {
    owners(&inodes(server).unwrap_or_default())
}

/// The ids of the processes that are named `reverb`.
pub(super) fn servers(processes: &[(i32, String)]) -> Vec<i32> {
    let servers = processes.iter().filter(|(_, name)| name == env!("CARGO_PKG_NAME"));
    servers.map(|(process, _)| *process).collect()
}

/// The sockets that listen at the addresses of this server.
pub(super) fn inodes(server: &Server) -> io::Result<Vec<u64>> {
    let (mut addresses, mut inodes) = (Vec::new(), Vec::new());
    for host in server.hosts() {
        match host.starts_with('/') {
            true => inodes.extend(unix_inode(host)),
            false => {
                let resolved = (host, server.port).to_socket_addrs()?;
                addresses.extend(resolved.map(|address| address.ip()));
            }
        }
    }
    inodes.extend(listening_inodes(&addresses, server.port));
    Ok(inodes)
}

/// The socket that listens at this path: the seventh column of `/proc/net/unix`, whose fourth has
/// a flag for listening sockets.
fn unix_inode(path: &str) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, _, flags, _, _, inode, file] = columns[..] else { return None };
        (file == path && flags == "00010000").then(|| inode.parse().ok())?
    })
}

/// The sockets that listen on this port at one of these addresses.
fn listening_inodes(addresses: &[IpAddr], port: u16) -> Vec<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    tables
        .flat_map(|table| table.lines().filter_map(listening).collect::<Vec<_>>())
        .filter(|(address, bound, _)| *bound == port && addresses.contains(address))
        .map(|(_, _, inode)| inode)
        .collect()
}

/// Address, port and inode of a line of `/proc/net/tcp` whose socket listens (state 0A). The
/// address is in hexadecimal, each four bytes in the machine's order.
fn listening(line: &str) -> Option<(IpAddr, u16, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let words: Option<Vec<u8>> = (0..address.len() / 8)
        .map(|n| u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let address = match words?.as_slice() {
        v4 @ [_, _, _, _] => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(v4).ok()?)),
        v6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(v6).ok()?)),
    };
    Some((address, u16::from_str_radix(port, 16).ok()?, inode))
}

/// The processes that have one of these sockets open, with their names.
pub(super) fn owners(inodes: &[u64]) -> Vec<(i32, String)> {
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut owners = Vec::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for process in processes {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let has_socket = files.filter_map(Result::ok).any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|link| links.iter().any(|l| link.as_os_str() == &**l))
        });
        if has_socket {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            owners.push((id, name.trim_end().to_owned()));
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_listening_sockets_are_read() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                  0        0 4242 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening(v4), Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 8080, 4242)));
        let v6 = "   0: 00000000000000000000000001000000:0050 \
                  00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                  0 0 7 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening(v6), Some((IpAddr::V6(Ipv6Addr::LOCALHOST), 80, 7)));
        assert_eq!(listening(&v4.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address rem_address   st"), None);
        assert_eq!(listening(""), None);
    }
}
