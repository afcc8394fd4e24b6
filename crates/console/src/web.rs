//! What every page is made with: who is logged in and what they may see, the layout around a page, filters and
//! lists, error pages, and how times, sizes and states look.
//!
//! Imports `state` and `auth`; no page.

pub(crate) mod access;
pub(crate) mod badge;
pub(crate) mod chart;
pub(crate) mod choices;
pub(crate) mod connection_table;
pub(crate) mod error_page;
pub(crate) mod event_table;
pub(crate) mod facts;
pub(crate) mod filters;
pub(crate) mod flow_table;
pub(crate) mod format;
pub(crate) mod layout;
pub(crate) mod list;
pub(crate) mod list_query;
pub(crate) mod local_path;
pub(crate) mod page_error;
pub(crate) mod pager;
pub(crate) mod routes;
pub(crate) mod search;
pub(crate) mod security;
pub(crate) mod session;
pub(crate) mod state_counts;
pub(crate) mod transfer_table;
