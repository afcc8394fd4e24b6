//! Where a password comes from: a file, standard input, or the person at the terminal.

use control::password::{LONGEST_PASSWORD, password_problem};
use model::{Error, ErrorKind, Result, Secret};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads the password of a user.
///
/// # Errors
/// The file cannot be read; there is no terminal; the two passwords differ; the password is not accepted.
pub(super) fn password(user: &str, file: Option<&Path>) -> Result<Secret<String>> {
    match file {
        Some(path) if path == Path::new("-") => read(io::stdin(), path),
        Some(path) => read(File::open(path).map_err(|error| not_read(error, path))?, path),
        None => at_terminal(user),
    }
}

/// All of it, at most one byte more than a password may have; without the line break at its end.
fn read(from: impl Read, path: &Path) -> Result<Secret<String>> {
    let most = LONGEST_PASSWORD as u64 + 3;
    let mut text = String::with_capacity(LONGEST_PASSWORD + 3);
    from.take(most).read_to_string(&mut text).map_err(|error| not_read(error, path))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let length = line.strip_suffix('\r').unwrap_or(line).len();
    text.truncate(length);
    Ok(Secret::new(text))
}

fn not_read(error: io::Error, path: &Path) -> Error {
    Error::local_io("read the password", error).with("path", path.display())
}

fn at_terminal(user: &str) -> Result<Secret<String>> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map(Secret::new).map_err(|error| {
            Error::permanent(ErrorKind::Unsupported, "ask for the password at the terminal")
                .caused_by(error)
                .advice(
                    "without a terminal, use --password-file FILE, or --password-file - for standard input",
                )
        })
    };
    let password = ask(&format!("Password of {user}: "))?;
    let refused =
        |problem: String| Err(Error::permanent(ErrorKind::ConfigInvalid, "use the password").advice(problem));
    if let Some(problem) = password_problem(user, &password) {
        return refused(problem);
    }
    if ask("Repeat the password: ")?.reveal() != password.reveal() {
        return refused("The passwords do not match.".to_owned());
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_line_without_its_end() {
        for (text, password) in [
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" two words ", " two words "),
            ("a\n\n", "a\n"),
        ] {
            let read = read(text.as_bytes(), Path::new("-")).unwrap();
            assert_eq!(read.reveal(), password, "{text:?}");
        }
        // Longer than accepted stays longer than accepted, and no more is read.
        let long = read("x".repeat(100_000).as_bytes(), Path::new("-")).unwrap();
        assert!(password_problem("ada", &long).unwrap().contains("too long"));
        assert!(read(&[0xff_u8][..], Path::new("-")).is_err());
    }
}
