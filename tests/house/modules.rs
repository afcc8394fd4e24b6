//! Within a crate, modules form no circle: what belongs together is one module, and what is used by two stands below both.
//!
//! What counts as a circle. Modules lie in each other like folders, and a module *uses* another where one of its files
//! names something of it: in a `use` or by a path in the code. A name that a module only passes on (`pub use`) counts
//! for the module that defines it. At each level of the tree, the modules side by side are looked at, each with all that
//! lies in it, and none of them may use another one that uses it back, directly or by a third.
//!
//! What does not count is what a module and those *inside* it have to do with each other: Rust hides a type's fields from
//! all but the modules within, so a parent that calls its parts, which in turn name its types, is one thing in several
//! files. In the crates of [`STRICT`] not even that is allowed: no two files there use each other.
//!
//! Modules for tests alone (`#[cfg(test)]`) are left out: they may reach everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a circle lies, and its modules.
type KnownCircle = (&'static str, &'static [&'static str]);

/// Circles that are still there, by crate: the modules side by side, and where they lie. To be taken apart, never to
/// grow, nor to be joined by another one.
const KNOWN: &[(&str, &[KnownCircle])] = &[
    (
        "config",
        &[
            ("crate", &["check", "settings"]),
            ("crate", &["context", "reference"]),
            ("crate::check", &["flow", "source"]),
        ],
    ),
    (
        "net",
        &[("crate", &["connection", "meter"]), ("crate::http::server", &["exchange", "standby", "watch"])],
    ),
    (
        "smime",
        &[
            ("crate", &["algorithm", "ber", "cms", "der", "error", "message", "mic", "mime"]),
            ("crate::message", &["payload", "unwrap"]),
        ],
    ),
    ("staging", &[("crate", &["area", "part", "read", "stream"])]),
    (
        "store",
        &[
            (
                "crate",
                &[
                    "audit",
                    "command",
                    "delivery",
                    "event",
                    "fence",
                    "lease",
                    "open",
                    "revisions",
                    "seal",
                    "search",
                    "secrets",
                    "transaction",
                    "tx",
                    "users",
                    "verify",
                    "wake",
                    "writer",
                ],
            ),
            ("crate::search", &["bounded", "query", "unreadable"]),
            ("crate::verify", &["copies", "report"]),
        ],
    ),
    ("testkit", &[("crate::fake", &["destination", "endpoint", "source"])]),
    (
        "transport",
        &[
            ("crate::folder::destination", &["dropped", "publish"]),
            ("crate::folder::source", &["content", "move_away", "taken"]),
        ],
    ),
    (
        "transport-as2",
        &[("crate", &["listener", "reject"]), ("crate", &["mic_mismatch", "receipt", "refusal"])],
    ),
    (
        "waybill",
        &[
            ("crate", &["commands", "command_session", "logging"]),
            ("crate::commands::as2", &["payloads", "unpack"]),
        ],
    ),
];

/// Crates without any circle of files, not even of a module and those inside it.
const STRICT: &[&str] = &["console", "engine"];

/// A module, as a file.
#[derive(Default)]
struct Module {
    /// `crate::ingest::poll`
    path: Vec<String>,
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Modules written within the file: their names lead nowhere else.
    inline: BTreeSet<String>,
    /// What `use` brings in, by the name it has here.
    imports: BTreeMap<String, Vec<String>>,
    /// All paths in the file that may lead to another module, and whether they only pass a name on.
    paths: Vec<(Vec<String>, bool)>,
}

/// A crate's modules; the first is its root.
struct Modules(Vec<Module>);

/// One use of a module by another: where from, where to, and by which words.
struct Use {
    from: usize,
    to: usize,
    words: String,
    is_passed_on: bool,
}

/// Modules side by side that use each other in a circle.
struct Circle {
    /// The module that they lie in.
    level: String,
    names: Vec<String>,
    /// Which file uses what of which.
    words: String,
}

#[test]
fn modules_form_no_circle() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    let crates = suites::repository().join("crates");
    for room in fs::read_dir(crates).unwrap().map(|entry| entry.unwrap()) {
        let name = room.file_name().into_string().unwrap();
        let known = KNOWN.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, circles)| circles);
        let mut met = BTreeSet::new();
        for root in ["lib.rs", "main.rs"].map(|root| room.path().join("src").join(root)) {
            if !root.exists() {
                continue;
            }
            seen += 1;
            let modules = Modules::read(&root);
            let uses = modules.uses();
            for circle in modules.circles(&uses) {
                let holds = |(level, names): &KnownCircle| {
                    *level == circle.level && circle.names.iter().all(|name| names.contains(&name.as_str()))
                };
                match known.iter().position(holds) {
                    Some(place) => {
                        met.insert(place);
                    }
                    None => wrong.push(format!(
                        "{name}, in {}: {}\n{}",
                        circle.level,
                        circle.names.join(", "),
                        circle.words
                    )),
                }
            }
            if STRICT.contains(&name.as_str()) {
                let files = modules.file_circles(&uses);
                wrong.extend(files.into_iter().map(|words| format!("{name}, files\n{words}")));
            }
        }
        let gone = known.iter().enumerate().filter(|(place, _)| !met.contains(place));
        wrong.extend(
            gone.map(|(_, circle)| format!("{name}: {circle:?} is no more: strike it off the list\n")),
        );
    }
    assert!(seen > 10, "crates were not found");
    assert!(wrong.is_empty(), "modules use each other in a circle:\n\n{}", wrong.join("\n"));
}

#[test]
fn circles_are_found_and_what_is_none_is_not() {
    let circles = |files: &[(&str, &str)]| {
        let place = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = place.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let modules = Modules::read(&place.path().join("lib.rs"));
        let uses = modules.uses();
        let circles: Vec<_> =
            modules.circles(&uses).into_iter().map(|circle| circle.names.join(" ")).collect();
        (circles, modules.file_circles(&uses).len())
    };
    let root = ("lib.rs", "mod a;\nmod b;\npub use b::B;");
    let b = ("b.rs", "use crate::a::A;\npub struct B(A);");
    // Directly, by what the root passes on, by a path in the code, and by an import within braces.
    for a in
        ["use crate::b::B;", "use crate::B;", "fn a() { super::b::f() }", "use crate::{b::{self, B as C}};"]
    {
        assert_eq!(circles(&[root, ("a.rs", a), b]), (vec!["a b".to_owned()], 1), "{a}");
    }
    // In tests, comments and texts it is none; nor is another crate of the same name.
    let harmless = [
        "#[cfg(test)]\nmod tests { use crate::b::B; }",
        "// crate::b::B\nconst A: &str = r#\"crate::b::B\"#;",
        "use ::b::B;",
        "fn a<'a>(a: char) -> bool { a == '\"' }",
    ];
    for a in harmless {
        assert_eq!(circles(&[root, ("a.rs", a), b]), (vec![], 0), "{a}");
    }
    // By a third, and across folders.
    let three = [
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "mod inner;"),
        ("a/inner.rs", "use crate::b::B;"),
        ("b.rs", "use crate::c::C;"),
        ("c.rs", "use crate::a::inner::I;"),
    ];
    assert_eq!(circles(&three), (vec!["a b c".to_owned()], 1));
    // A module and its own parts are a circle of files alone; one that only passes on what they hold is none.
    let inside = ("a/inner.rs", "use super::A;");
    let only_root = ("lib.rs", "mod a;");
    assert_eq!(
        circles(&[only_root, ("a.rs", "mod inner;\nuse inner::I;\npub struct A;"), inside]),
        (vec![], 1)
    );
    assert_eq!(
        circles(&[only_root, ("a.rs", "mod inner;\npub use inner::I;\npub struct A;"), inside]),
        (vec![], 0)
    );
}

impl Modules {
    fn read(root: &Path) -> Self {
        let mut modules = Self(Vec::new());
        modules.add(root.to_owned(), root.parent().unwrap().to_owned(), vec!["crate".to_owned()], None);
        modules
    }

    /// Reads a file and the files of the modules in it, which lie in `directory`.
    fn add(&mut self, file: PathBuf, directory: PathBuf, path: Vec<String>, parent: Option<usize>) -> usize {
        let tokens = tokens(&without_tests(&code(&fs::read_to_string(&file).unwrap())));
        let number = self.0.len();
        self.0.push(Module { path: path.clone(), file, parent, ..Module::default() });
        for name in self.0[number].take_in(&tokens) {
            let file = [format!("{name}.rs"), format!("{name}/mod.rs")].map(|file| directory.join(file));
            let file = file.into_iter().find(|file| file.exists()).unwrap();
            let mut path = path.clone();
            path.push(name.clone());
            let child = self.add(file, directory.join(&name), path, Some(number));
            self.0[number].children.insert(name, child);
        }
        number
    }

    /// The module that defines what a path leads to, seen from a module; none for other crates' things.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<usize> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.0[from].parent?,
            name if self.0[from].children.contains_key(name) || self.0[from].imports.contains_key(name) => {
                rest = path;
                from
            }
            _ => return None,
        };
        while let Some((name, more)) = rest.split_first() {
            let module = &self.0[at];
            rest = more;
            if name == "super" {
                at = module.parent?;
            } else if let Some(child) = module.children.get(name) {
                at = *child;
            } else if let Some(import) = module.imports.get(name).filter(|_| depth < 20) {
                // A name that leads to itself is another crate's of the same name.
                match (import.first() != Some(name)).then(|| self.resolve(at, import, depth + 1)).flatten() {
                    Some(defines) => at = defines,
                    None => return Some(at).filter(|at| *at != from),
                }
            } else if !module.inline.contains(name) {
                break;
            }
        }
        Some(at)
    }

    fn uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        for (from, module) in self.0.iter().enumerate() {
            for (path, is_passed_on) in &module.paths {
                if let Some(to) = self.resolve(from, path, 0).filter(|to| *to != from) {
                    uses.push(Use { from, to, words: path.join("::"), is_passed_on: *is_passed_on });
                }
            }
        }
        uses
    }

    /// A module and those it lies in, the root first.
    fn way_to(&self, module: usize) -> Vec<usize> {
        let mut way: Vec<usize> = std::iter::successors(Some(module), |at| self.0[*at].parent).collect();
        way.reverse();
        way
    }

    /// The circles among modules side by side.
    fn circles(&self, uses: &[Use]) -> Vec<Circle> {
        let mut levels: BTreeMap<usize, Vec<(usize, usize, &Use)>> = BTreeMap::new();
        for each in uses {
            let (from, to) = (self.way_to(each.from), self.way_to(each.to));
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // One lies in the other: that is no use of a neighbour.
            if let (Some(a), Some(b)) = (from.get(shared), to.get(shared)) {
                levels.entry(from[shared - 1]).or_default().push((*a, *b, each));
            }
        }
        let circle = |level: usize, circle: &BTreeSet<usize>, edges: &[(usize, usize, &Use)]| Circle {
            level: self.0[level].path.join("::"),
            names: circle.iter().map(|at| self.0[*at].path.last().unwrap().clone()).collect(),
            words: self.words(circle, edges),
        };
        let of_level = |(level, edges): (usize, Vec<_>)| {
            let found = strongly_connected(&edges);
            found.iter().map(|found| circle(level, found, &edges)).collect::<Vec<_>>()
        };
        levels.into_iter().flat_map(of_level).collect()
    }

    /// The circles of files, also of a module and those inside it; what is only passed on is none.
    fn file_circles(&self, uses: &[Use]) -> Vec<String> {
        let edges: Vec<_> =
            uses.iter().filter(|each| !each.is_passed_on).map(|each| (each.from, each.to, each)).collect();
        strongly_connected(&edges).iter().map(|circle| self.words(circle, &edges)).collect()
    }

    /// Which file uses what of which, one line for each pair.
    fn words(&self, circle: &BTreeSet<usize>, edges: &[(usize, usize, &Use)]) -> String {
        let mut lines = BTreeMap::new();
        for (from, to, each) in edges.iter().filter(|(a, b, _)| circle.contains(a) && circle.contains(b)) {
            let file = &self.0[each.from].file;
            let file = file.strip_prefix(suites::repository()).unwrap_or(file);
            let pair = (self.0[*from].path.join("::"), self.0[*to].path.join("::"));
            let line = format!("  {} -> {}: {} in {}\n", pair.0, pair.1, each.words, file.display());
            lines.entry(pair).or_insert(line);
        }
        lines.into_values().collect()
    }
}

impl Module {
    /// Takes in a file's tokens; answers the modules that lie in files of their own.
    fn take_in(&mut self, tokens: &[String]) -> Vec<String> {
        let mut children = Vec::new();
        let at = |place: usize| tokens.get(place).map_or("", String::as_str);
        let mut place = 0;
        while place < tokens.len() {
            match (at(place), at(place + 1), at(place + 2)) {
                ("mod", name, ";") => {
                    children.push(name.to_owned());
                    place += 3;
                }
                ("mod", name, "{") => {
                    self.inline.insert(name.to_owned());
                    place += 3;
                }
                ("use", next, _) if next != "<" => {
                    let is_passed_on = place > 0 && [")", "pub"].contains(&at(place - 1));
                    let end = place + tokens[place..].iter().position(|token| token == ";").unwrap();
                    for (name, path) in use_tree(&tokens[place + 1..end], &[]) {
                        self.imports.insert(name, path.clone());
                        self.paths.push((path, is_passed_on));
                    }
                    place = end;
                }
                (name, "::", _) if is_name(name) && (place == 0 || at(place - 1) != "::") => {
                    let mut path = vec![name.to_owned()];
                    while at(place + 1) == "::" && is_name(at(place + 2)) {
                        path.push(at(place + 2).to_owned());
                        place += 2;
                    }
                    self.paths.push((path, false));
                    place += 1;
                }
                _ => place += 1,
            }
        }
        children
    }
}

/// The names that a `use` brings in, with what each leads to.
fn use_tree(tokens: &[String], before: &[String]) -> Vec<(String, Vec<String>)> {
    let mut names = Vec::new();
    let mut path = before.to_vec();
    let mut place = 0;
    while let Some(token) = tokens.get(place) {
        match token.as_str() {
            "::" => {}
            "{" => {
                let mut depth = 0;
                let mut start = place + 1;
                for (end, token) in tokens.iter().enumerate().skip(place) {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || depth == 1 && token == "," {
                        names.extend(use_tree(&tokens[start..end], &path));
                        start = end + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
                return names;
            }
            "as" => {
                names.push((tokens[place + 1].clone(), path));
                return names;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        place += 1;
    }
    if let Some(last) = path.last().filter(|_| path.len() > before.len() || !tokens.is_empty()) {
        names.push((last.clone(), path.clone()));
    }
    names
}

/// The groups of more than one of which each leads to each other.
fn strongly_connected(edges: &[(usize, usize, &Use)]) -> Vec<BTreeSet<usize>> {
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, to, _) in edges {
        next.entry(*from).or_default().insert(*to);
    }
    let reached = |from: usize| {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![from];
        while let Some(at) = waiting.pop() {
            waiting.extend(next.get(&at).into_iter().flatten().filter(|to| reached.insert(**to)));
        }
        reached
    };
    let reach: BTreeMap<usize, BTreeSet<usize>> = next.keys().map(|from| (*from, reached(*from))).collect();
    let mut groups: Vec<BTreeSet<usize>> = Vec::new();
    for (from, to) in &reach {
        let group: BTreeSet<usize> =
            to.iter().copied().filter(|at| reach.get(at).is_some_and(|back| back.contains(from))).collect();
        if group.len() > 1 && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_of_word(first) {
            rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !token.trim().is_empty() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

/// A file's code without its items for tests.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let Some(start) = code.find(MARK) else { return code.to_owned() };
    let after = &code[start + MARK.len()..];
    let mut depth = 0;
    let end = after.char_indices().find(|(_, c)| {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && [';', '}'].contains(c)
    });
    let end = end.map_or(after.len(), |(place, _)| place + 1);
    format!("{}{}", &code[..start], without_tests(&after[end..]))
}

/// A file's code without comments, and with its strings and characters empty.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.find('"').unwrap() + 1;
            code.push_str("\"\"");
            rest[start..].find(&end).map_or(rest.len(), |place| start + place + end.len())
        } else if first == '"' {
            code.push_str("\"\"");
            end_of_quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            code.push_str("' '");
            end_of_quoted(rest, '\'')
        } else {
            // A word is taken whole, so that no letter in it begins a string.
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = word.max(first.len_utf8());
            code.push_str(&rest[..length]);
            length
        };
        rest = &rest[skipped..];
    }
    code
}

/// How many hashes a raw string that begins here has.
pub(crate) fn raw_string(text: &str) -> Option<usize> {
    let text = text.strip_prefix('b').or_else(|| text.strip_prefix('c')).unwrap_or(text).strip_prefix('r')?;
    let hashes = text.len() - text.trim_start_matches('#').len();
    text[hashes..].starts_with('"').then_some(hashes)
}

/// Whether a quote begins a character, and no lifetime.
pub(crate) fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

pub(crate) fn end_of_quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((place, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return place + 1;
        }
    }
    text.len()
}
