//! Asking the person at the terminal.

use super::write;
use model::{Error, ErrorKind, Result};
use std::fmt;
use std::io::{IsTerminal, Write as _};

/// Asks whether something is meant; where it is not, says that nothing was changed.
///
/// # Errors
/// `Unsupported`: there is no terminal; `advice` says what to do instead.
pub(crate) fn is_meant(question: impl fmt::Display, advice: &'static str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::permanent(ErrorKind::Unsupported, "ask whether this is meant")
            .with("question", question)
            .advice(advice));
    }
    let failed = |error| Error::local_io("ask whether this is meant", error);
    write!(std::io::stderr(), "{question} [y/N] ").map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    let yes = matches!(line.trim(), "y" | "Y" | "yes");
    if !yes {
        write::note("nothing was changed");
    }
    Ok(yes)
}
