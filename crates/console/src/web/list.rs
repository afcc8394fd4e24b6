//! The one list: a table with its notes and its pager, alike for everything that is listed.

use crate::web::filters::Chip;
use crate::web::format::Moment;
use crate::web::pager::Pager;
use askama::Template;

/// A page of a list. It is the part of a page that refreshes itself.
#[derive(Template)]
#[template(path = "list.html")]
pub(crate) struct List {
    /// What is listed, such as `transfers`.
    pub(crate) noun: &'static str,
    /// The rendered table; none without rows.
    pub(crate) table: Option<String>,
    /// Whether filters are in force.
    pub(crate) filtered: bool,
    /// What to know as long as there is nothing to list: HTML of our own.
    pub(crate) empty_hint: &'static str,
    /// Why the search ended before its end.
    pub(crate) stopped: Option<String>,
    /// Rows that this version cannot read, a line each.
    pub(crate) unreadable: Vec<String>,
    pub(crate) pager: Pager,
    pub(crate) at: Moment,
}

impl askama::filters::HtmlSafe for List {}

/// What stands below the filter form: the filters in force, notes, and the list.
#[derive(Template)]
#[template(path = "results.html")]
pub(crate) struct Results {
    pub(crate) path: &'static str,
    pub(crate) title: &'static str,
    pub(crate) chips: Vec<Chip>,
    pub(crate) notices: Vec<String>,
    /// How often the list refreshes itself, in seconds.
    pub(crate) refresh_every: u32,
    pub(crate) list: List,
}

impl askama::filters::HtmlSafe for Results {}
