//! A command at the server, over the SSH connection that carries its files (RFC 4254, 6.5): it computes a checksum where
//! SFTP itself cannot be asked for one.

use super::Connection;
use model::{Error, ErrorKind, PeerText, RemotePath, Result};
use russh::ChannelMsg;
use std::time::Duration;
use transport::folder::{ChecksumKind, ServerChecksum};

/// Most bytes that are read of what a command writes; a SHA-256 and a name have fewer.
const OUTPUT_LIMIT: usize = 8 * 1024;

/// The longest that a command may take. A server that is gone is noticed earlier, by its keepalives.
const LONGEST: Duration = Duration::from_secs(3600);

const OPERATION: &str = "compute the checksum of a file by a command";

/// What a command wrote, and how it ended.
#[derive(Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// `None` where it did not end by itself, or was not begun.
    status: Option<u32>,
    is_refused: bool,
}

impl Output {
    fn take(&mut self, message: ChannelMsg) {
        let keep = |kept: &mut Vec<u8>, data: &[u8]| {
            kept.extend(&data[..data.len().min(OUTPUT_LIMIT - kept.len())]);
        };
        match message {
            ChannelMsg::Data { data } => keep(&mut self.stdout, &data),
            ChannelMsg::ExtendedData { data, .. } => keep(&mut self.stderr, &data),
            ChannelMsg::ExitStatus { exit_status } => self.status = Some(exit_status),
            ChannelMsg::Failure => self.is_refused = true,
            _ => {}
        }
    }

    /// The SHA-256 at its beginning.
    fn sha256(&self) -> Option<ServerChecksum> {
        if self.status != Some(0) {
            return None;
        }
        let word = self.stdout.split(u8::is_ascii_whitespace).next()?;
        ServerChecksum::from_hex(ChecksumKind::Sha256, word)
    }
}

impl Connection {
    /// The SHA-256 of a file, by a command that reads it from standard input and writes the sum first, in hexadecimal
    /// digits. `None` if the server runs no such command, or it wrote something else; the log says why.
    ///
    /// # Errors
    /// The connection was lost, or the command did not end within an hour.
    pub(crate) async fn sha256_by(&self, command: &str, path: &RemotePath) -> Result<Option<ServerChecksum>> {
        let failed = |error: Error| {
            self.target().on_connection(error.with("host", &self.target().host).with("path", path))
        };
        let line = [command.as_bytes(), b" < ", &quoted(path.as_bytes())].concat();
        let output = match tokio::time::timeout(LONGEST, self.run(&line)).await {
            Ok(Ok(output)) => output,
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                tracing::warn!(host = self.target().host, %path, ?reason, "the server opened no session for the checksum command: the file is read back");
                return Ok(None);
            }
            Ok(Err(error)) => {
                return Err(failed(Error::transient(ErrorKind::Unreachable, OPERATION).caused_by(error)));
            }
            Err(_) => {
                let error = Error::transient(ErrorKind::Timeout, OPERATION);
                return Err(failed(error.with("waited", format!("{} s", LONGEST.as_secs()))));
            }
        };
        if self.client.lost().is_some() {
            return Err(failed(Error::transient(ErrorKind::Unreachable, OPERATION)));
        }
        let sum = output.sha256();
        if sum.is_none() {
            let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
            let (said, status, is_refused) = (PeerText::new(said), output.status, output.is_refused);
            tracing::warn!(host = self.target().host, %path, command, ?status, is_refused, %said, "the checksum command gave no SHA-256: the file is read back");
        }
        Ok(sum)
    }

    /// Runs a command line and reads what it writes; it gets no input.
    async fn run(&self, line: &[u8]) -> std::result::Result<Output, russh::Error> {
        let ssh = self.session.ssh().ok_or(russh::Error::Disconnect)?;
        let mut channel = ssh.channel_open_session().await?;
        channel.exec(true, line).await?;
        // Where another program is run in its place, as for accounts that may transfer files alone, it ends.
        channel.eof().await?;
        let mut output = Output::default();
        while let Some(message) = channel.wait().await {
            output.take(message);
            if output.is_refused {
                break;
            }
        }
        Ok(output)
    }
}

/// Text as one word of a POSIX shell.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut word = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => word.extend(b"'\\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_of_a_shell() {
        assert_eq!(quoted(b"/a b/$(id)`id`.edi"), b"'/a b/$(id)`id`.edi'");
        assert_eq!(quoted(b"it's"), b"'it'\\''s'");
    }

    #[test]
    fn only_a_sha256_of_a_command_that_succeeded_counts() {
        let digits = "ab".repeat(32);
        let output = |stdout: &str, status| Output { stdout: stdout.into(), status, ..Output::default() };
        assert!(output(&format!("{digits}  -\n"), Some(0)).sha256().is_some());
        assert!(output(&digits, Some(0)).sha256().is_some());
        for (stdout, status) in [(&*digits, Some(1)), (&*digits, None), ("", Some(0)), ("abcd  -", Some(0))] {
            assert!(output(stdout, status).sha256().is_none(), "{stdout} {status:?}");
        }
        assert!(output(&"ab".repeat(64), Some(0)).sha256().is_none(), "a SHA-512");
    }

    #[test]
    fn output_without_end_is_bounded() {
        let mut output = Output::default();
        for _ in 0..100 {
            output.take(ChannelMsg::Data { data: vec![b'a'; 1000].into() });
        }
        assert_eq!(output.stdout.len(), OUTPUT_LIMIT);
    }
}
