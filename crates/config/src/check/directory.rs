//! Directories compared by the words of their paths.

/// A directory as a URL or a field names it, without `.` and with `..` followed as far as words go.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Directory {
    absolute: bool,
    parts: Vec<String>,
}

/// Whether a directory is absolute, and the words of its path.
pub(super) type Words<'a> = (bool, &'a [String]);

impl Directory {
    /// An absolute directory, or one relative to the login directory.
    pub(super) fn new(absolute: bool, text: &str) -> Self {
        let mut parts: Vec<String> = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            let climbs = part == ".." && parts.last().is_some_and(|last| last != "..");
            if climbs {
                parts.pop();
            } else if part != ".." || !absolute {
                parts.push(part.to_owned());
            }
        }
        Self { absolute, parts }
    }

    /// A directory as a field of a flow names it.
    pub(super) fn written(text: &str) -> Self {
        Self::new(text.starts_with('/'), text)
    }

    /// A directory below this one.
    pub(super) fn below(&self, text: &str) -> Self {
        let mut below = self.clone();
        below.parts.extend(Self::new(true, text).parts);
        below
    }

    /// The words that lead from this one to another one, which is this one or lies below it; `None` of others.
    pub(super) fn way_to(&self, other: &Self) -> Option<String> {
        let is_below = self.absolute == other.absolute && self.climbs() == other.climbs();
        let words = other.parts.strip_prefix(self.parts.as_slice()).filter(|_| is_below)?;
        Some(words.join("/"))
    }

    /// Its words, by which directories are looked up.
    pub(super) fn words(&self) -> Words<'_> {
        (self.absolute, &self.parts)
    }

    /// The words of all directories above it, as far as its own words tell.
    pub(super) fn above(&self) -> impl Iterator<Item = Words<'_>> {
        (self.climbs()..self.parts.len()).map(|end| (self.absolute, &self.parts[..end]))
    }

    /// How many directories above the login directory its words begin.
    pub(super) fn climbs(&self) -> usize {
        self.parts.iter().take_while(|part| *part == "..").count()
    }

    /// Whether it is nothing but a way up: it holds every directory whose words begin less far above.
    pub(super) fn only_climbs(&self) -> bool {
        !self.absolute && !self.parts.is_empty() && self.climbs() == self.parts.len()
    }

    /// Whether the other one is this one or lies below it. An absolute and a relative one cannot be
    /// compared: the login directory is the server's to know.
    pub(super) fn holds(&self, other: &Self) -> bool {
        if self.absolute != other.absolute {
            return false;
        }
        let (own, others) = (self.climbs(), other.climbs());
        if own == others {
            other.parts.starts_with(&self.parts)
        } else {
            own > others && own == self.parts.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;

    #[test]
    fn a_directory_holds_what_lies_below() {
        let holds = |a: &str, b: &str| Directory::written(a).holds(&Directory::written(b));
        for (outer, inner) in [
            ("/a", "/a"),
            ("/a", "/a/b"),
            ("", "done"),
            ("in", "in/./x"),
            ("..", "in"),
            ("/", "/x"),
            ("a/../in/", "in"),
        ] {
            assert!(holds(outer, inner), "{outer} {inner}");
        }
        for (outer, other) in [
            ("/a", "/ab"),
            ("in", "done"),
            ("", "../done"),
            ("in", "in/../done"),
            ("/in", "in"),
            ("../x", "in"),
            ("a/b", "a"),
        ] {
            assert!(!holds(outer, other), "{outer} {other}");
        }
    }
}
