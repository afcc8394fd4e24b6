//! What is at hand while documents are read, and the problems found so far.

use crate::environment::Environment;
use crate::problem::{Place, Problem, Severity};
use crate::roots::Roots;
use std::cell::RefCell;

pub(crate) struct Context<'a> {
    pub(crate) roots: &'a Roots,
    pub(crate) environment: &'a dyn Environment,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    pub(crate) const fn new(roots: &'a Roots, environment: &'a dyn Environment) -> Self {
        Self { roots, environment, problems: RefCell::new(Vec::new()) }
    }

    pub(crate) fn error(&self, place: &Place, key: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::error(place, key, message));
    }

    pub(crate) fn warning(&self, place: &Place, key: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::warning(place, key, message));
    }

    pub(crate) fn error_count(&self) -> usize {
        self.problems.borrow().iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// `; did you mean 'x'?`, or what there is, or nothing when there is nothing.
pub(crate) fn suggestion<'a>(word: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = model::nearest(word, candidates.clone()) {
        return format!("; did you mean '{near}'?");
    }
    let all: Vec<&str> = candidates.collect();
    match all.len() {
        0 => String::new(),
        1..=12 => format!("; there are: {}", all.join(", ")),
        // A list that nobody reads is no help.
        many => format!("; there are {many} others"),
    }
}
