//! Where a passphrase comes from: a file, standard input, or the person at the terminal. Never the command line, which every
//! user of the machine can see.

use model::{Error, ErrorKind, Result, Secret};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest passphrase, in bytes: OpenSSL's own bound is 1,024.
const LONGEST: usize = 1000;

/// Where the passphrase of something that exists comes from.
#[derive(Clone, Debug)]
pub(super) struct Passphrase {
    file: Option<PathBuf>,
    /// The option that names a file, for a command without a terminal.
    option: &'static str,
}

impl Passphrase {
    pub(super) fn new(file: Option<&Path>, option: &'static str) -> Self {
        Self { file: file.map(Path::to_owned), option }
    }

    /// Reads it, or asks for it.
    ///
    /// # Errors
    /// The file cannot be read; there is no terminal.
    pub(super) fn get(&self, of: &Path) -> Result<Secret<String>> {
        match &self.file {
            Some(file) => from_file(file),
            None => {
                let typed = ask(&format!("Passphrase of {}: ", of.display()), self.option)?;
                fitting(typed, Path::new("terminal"))
            }
        }
    }
}

/// The passphrase in a file, without the line end at its end; "-" is standard input.
///
/// # Errors
/// The file cannot be read, or holds no passphrase.
pub(super) fn from_file(path: &Path) -> Result<Secret<String>> {
    let not_read = |error| Error::local_io("read a passphrase", error).with("path", path.display());
    if path == Path::new("-") {
        return read(io::stdin(), path);
    }
    read(File::open(path).map_err(not_read)?, path)
}

fn read(from: impl Read, path: &Path) -> Result<Secret<String>> {
    let mut text = String::with_capacity(LONGEST + 3);
    from.take(LONGEST as u64 + 3)
        .read_to_string(&mut text)
        .map_err(|error| Error::local_io("read a passphrase", error).with("path", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let length = line.strip_suffix('\r').unwrap_or(line).len();
    text.truncate(length);
    fitting(Secret::new(text), path)
}

/// A new passphrase, asked for twice.
///
/// # Errors
/// There is no terminal; the two differ; it cannot be one.
pub(super) fn new_at_terminal() -> Result<Secret<String>> {
    const OPTION: &str = "--key-passphrase-file";
    let passphrase = fitting(ask("Passphrase for the private key: ", OPTION)?, Path::new("terminal"))?;
    if ask("Repeat the passphrase: ", OPTION)?.reveal() != passphrase.reveal() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "use the passphrase")
            .advice("the two passphrases differ; nothing was written"));
    }
    Ok(passphrase)
}

fn ask(prompt: &str, option: &'static str) -> Result<Secret<String>> {
    rpassword::prompt_password(prompt).map(Secret::new).map_err(|error| {
        Error::permanent(ErrorKind::Unsupported, "ask for a passphrase at the terminal")
            .caused_by(error)
            .advice(format!("without a terminal, use {option} FILE, or {option} - for standard input"))
    })
}

fn fitting(passphrase: Secret<String>, from: &Path) -> Result<Secret<String>> {
    let problem = match passphrase.reveal() {
        text if text.is_empty() => "it is empty",
        text if text.len() > LONGEST => "it is longer than 1,000 bytes",
        text if text.contains('\0') => "it contains a NUL byte",
        _ => return Ok(passphrase),
    };
    Err(Error::permanent(ErrorKind::ConfigInvalid, "use the passphrase")
        .with("from", from.display())
        .advice(format!("{problem}; use another one")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_line_without_its_end() {
        for (text, expected) in
            [("secret\n", "secret"), ("secret\r\n", "secret"), (" two words ", " two words ")]
        {
            assert_eq!(read(text.as_bytes(), Path::new("-")).unwrap().reveal(), expected, "{text:?}");
        }
        for (text, problem) in [("\n", "empty"), (&"x".repeat(2000), "longer"), ("a\0b", "NUL")] {
            let error = read(text.as_bytes(), Path::new("file")).unwrap_err().chain();
            assert!(error.contains(problem) && !error.contains("a\0b"), "{error}");
        }
    }
}
