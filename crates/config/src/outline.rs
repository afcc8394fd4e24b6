//! A short list of problems for people to read: of a mistake that was made a thousand times, a few lines and a count.

use crate::problem::{Problem, Severity};
use std::collections::BTreeMap;
use std::fmt;

/// Problems of one kind that are written out.
const ALIKE: usize = 5;
/// Problems that are written out altogether.
const MOST: usize = 60;

/// One line for each problem, sorted by file and line. Those left out are counted by kind at the end; the list
/// for programs (`--output json`) has them all. Errors go before warnings when there is no room for both.
#[derive(Clone, Debug)]
pub struct Outline(Vec<String>);

/// Problems of one kind.
struct Group<'a> {
    first: &'a Problem,
    left_out: usize,
}

impl Outline {
    /// Outlines sorted problems.
    #[must_use]
    pub fn of(problems: &[Problem]) -> Self {
        let mut groups: BTreeMap<(Severity, String), Group<'_>> = BTreeMap::new();
        let mut told = vec![false; problems.len()];
        let mut room = MOST;
        for severity in [Severity::Error, Severity::Warning] {
            let mut count: BTreeMap<String, usize> = BTreeMap::new();
            for (at, problem) in problems.iter().enumerate().filter(|(_, p)| p.severity == severity) {
                let kind = kind(problem);
                let seen = count.entry(kind.clone()).or_default();
                *seen += 1;
                if *seen <= ALIKE && room > 0 {
                    room -= 1;
                    told[at] = true;
                } else {
                    let group =
                        groups.entry((severity, kind)).or_insert(Group { first: problem, left_out: 0 });
                    group.left_out += 1;
                }
            }
        }
        let mut lines: Vec<String> = problems
            .iter()
            .zip(told)
            .filter(|(_, told)| *told)
            .map(|(problem, _)| problem.to_string())
            .collect();
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|((severity, _), group)| (*severity, std::cmp::Reverse(group.left_out)));
        let few = groups.len().min(ALIKE * 2);
        lines.extend(groups[..few].iter().map(|((severity, kind), group)| line(*severity, kind, group)));
        let rest: usize = groups[few..].iter().map(|(_, group)| group.left_out).sum();
        if rest > 0 {
            lines.push(format!("… and {rest} more of other kinds"));
        }
        if few > 0 {
            lines.push("(`waybill validate --output json` lists every one)".to_owned());
        }
        Self(lines)
    }
}

fn line(severity: Severity, kind: &str, group: &Group<'_>) -> String {
    let (count, word) = (group.left_out, if group.left_out == 1 { "" } else { "s" });
    if group.first.key.is_empty() {
        return format!(
            "… and {count} more {severity}{word} in {}, perhaps caused by the first one",
            group.first.file
        );
    }
    let field = kind.split(' ').next().unwrap_or_default();
    format!("… and {count} more {severity}{word} like this: {field}: {}", group.first.message)
}

/// What problems of one kind have in common: the field without the name of its definition, and the message
/// without what differs. Of what is no TOML, the file.
fn kind(problem: &Problem) -> String {
    if problem.key.is_empty() {
        return problem.file.clone();
    }
    let mut parts = problem.key.split('.');
    let section = parts.next().unwrap_or_default();
    let field: Vec<&str> = parts.skip(1).collect();
    // A definition's own name may have dots in it: its last part is the field.
    let field = field.last().map_or_else(String::new, |field| format!(".{}", without_index(field)));
    format!("{section}.*{field} {}", without_values(&problem.message))
}

/// `destination[2]` is the field `destination`.
fn without_index(field: &str) -> &str {
    field.split('[').next().unwrap_or_default()
}

/// A message without quoted words, numbers and paths.
fn without_values(message: &str) -> String {
    let mut words = Vec::new();
    let mut quote = None;
    for word in message.split(' ') {
        let opens = word.chars().find(|c| matches!(c, '\'' | '"'));
        let ends = |mark: char| word.trim_end_matches([',', ';', ':', '.', '?', ')']).ends_with(mark);
        match quote {
            Some(mark) => {
                if ends(mark) {
                    quote = None;
                }
            }
            None if opens.is_some_and(|mark| word.starts_with(mark)) => {
                quote = opens.filter(|mark| !(ends(*mark) && word.len() > 2));
                words.push("*");
            }
            None if word.contains(['/', '\'', '"']) || word.contains(|c: char| c.is_ascii_digit()) => {
                words.push("*")
            }
            None => words.push(word),
        }
    }
    words.join(" ")
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::Outline;
    use crate::problem::{Place, Problem};

    fn problems(count: usize, make: impl Fn(usize) -> Problem) -> Vec<Problem> {
        (1..=count).map(make).collect()
    }

    fn place(line: usize) -> Place {
        Place { file: "partners.toml".into(), line: u32::try_from(line).unwrap(), column: 1 }
    }

    #[test]
    fn a_mistake_made_a_thousand_times_is_told_a_few_times() {
        let mut all = problems(1022, |n| {
            let message =
                format!("/etc/keys/p{n}.pem lies outside roots.secrets in waybill.toml (/run/secrets)");
            Problem::error(&place(n), &format!("certificate.p-{n}.pem"), message)
        });
        all.push(Problem::error(&place(2000), "flow.f", "unknown key 'sorce'; did you mean 'source'?"));
        let text = Outline::of(&all).to_string();
        assert!(text.lines().count() <= 10, "{text}");
        assert!(text.contains("certificate.p-1.pem") && text.contains("'sorce'"), "{text}");
        assert!(
            text.contains("… and 1017 more errors like this: certificate.*.pem: /etc/keys/p6.pem lies"),
            "{text}"
        );
        assert!(text.contains("--output json"), "{text}");
    }

    #[test]
    fn what_is_no_toml_is_told_from_its_beginning() {
        let all = problems(1022, |n| Problem::error(&place(n), "", format!("invalid key, wrong sign {n}")));
        let text = Outline::of(&all).to_string();
        assert!(text.starts_with("partners.toml:1:1: error: invalid key"), "{text}");
        assert!(
            text.contains("… and 1017 more errors in partners.toml, perhaps caused by the first one"),
            "{text}"
        );
    }

    #[test]
    fn however_different_there_are_so_many_lines_and_errors_come_first() {
        let letters = |mut n: usize| {
            let mut word = String::new();
            for _ in 0..3 {
                word.push(char::from(b'a' + u8::try_from(n % 26).unwrap()));
                n /= 26;
            }
            word
        };
        let mut all = problems(500, |n| Problem::error(&place(n), "flow.f", letters(n)));
        all.extend(problems(500, |n| Problem::warning(&place(n + 500), "flow.f", letters(n))));
        let text = Outline::of(&all).to_string();
        assert!(text.lines().count() <= 75 && !text.contains(": warning: "), "{text}");
        let few = Outline::of(&all[..3]).to_string();
        assert_eq!(few.lines().count(), 3, "{few}");
    }
}
