//! Where syslog messages go.

use std::path::PathBuf;
use std::str::FromStr;

/// Where syslog messages go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyslogTarget {
    /// A server, by datagrams: nothing tells whether they arrive.
    Udp(String, u16),
    /// A server, by a stream.
    Tcp(String, u16),
    /// The socket of this machine's own daemon, such as `/dev/log`.
    Unix(PathBuf),
}

impl FromStr for SyslogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("must be \"udp://HOST:514\", \"tcp://HOST:601\" or \"unix:/dev/log\", not {text:?}");
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) || (host.contains(':') && !bracketed) {
            return Err(wrong());
        }
        match scheme {
            "udp" => Ok(Self::Udp(host.to_owned(), port)),
            "tcp" => Ok(Self::Tcp(host.to_owned(), port)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SyslogTarget;

    #[test]
    fn targets_are_read_and_others_refused() {
        assert_eq!("udp://log:514".parse(), Ok(SyslogTarget::Udp("log".into(), 514)));
        assert_eq!("tcp://[::1]:601".parse(), Ok(SyslogTarget::Tcp("[::1]".into(), 601)));
        assert_eq!("unix:/dev/log".parse(), Ok(SyslogTarget::Unix("/dev/log".into())));
        for wrong in
            ["log", "udp://log", "udp://:514", "tcp://log:0", "tls://log:1", "unix:log", "tcp://::1:1"]
        {
            assert!(wrong.parse::<SyslogTarget>().is_err(), "{wrong}");
        }
    }
}
