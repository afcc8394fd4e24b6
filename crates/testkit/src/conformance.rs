//! One suite for every folder, and for the source and destination made from it.
//!
//! A transport's own test makes a fresh, empty [`Place`] for each check:
//!
//! ```ignore
//! #[tokio::test(flavor = "multi_thread")]
//! async fn conforms() {
//!     testkit::conformance::all(|| async {
//!         let server = start().await;
//!         Place::new(server.folder(), "in", "archive").keeping(server)
//!     })
//!     .await;
//! }
//! ```
//!
//! The rules checked are those of `docs/transport-contract.md`. All checks run; the failed ones are
//! named at the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a suite of tests: a failed expectation is how it speaks"
)]

mod destination;
mod folder;
mod habits;
mod names;
mod scene;
mod settle;
mod source;

pub use scene::Interlude;

use futures::FutureExt;
use model::RemotePath;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use transport::folder::Folder;

/// Longest that one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(120);

/// A place to be checked: the folder, and two directories there that are this check's alone.
pub struct Place {
    /// The folder.
    pub folder: Arc<dyn Folder>,
    /// An empty directory that exists.
    pub directory: RemotePath,
    /// A directory beside it that does not exist yet but may be made.
    pub beside: RemotePath,
    /// Longest name of one file, in bytes.
    pub name_limit: usize,
    /// Whether names may be any bytes, or must be UTF-8.
    pub any_bytes: bool,
    /// Whether the protocol can carry a name; others must be refused for good, with nothing sent.
    pub carries: fn(&[u8]) -> bool,
    /// Whether a server may make a file after all whose sending was broken off and whose removal it has confirmed. It has a
    /// temporary name and is never published.
    pub leaves_parts: bool,
    /// Whether the server lists a file under the name that it was given; others are left out of the checks of names. The
    /// protocol's page tells which server changes which.
    pub keeps: fn(&[u8]) -> bool,
    /// Whether times are told to the minute, as by LIST of FTP: files of one size that are written one after the other look
    /// the same there.
    pub by_the_minute: bool,
    /// Whether a file whose sending broke off can be gone on with.
    pub resumes: bool,
    /// Files in the check of a long listing.
    pub long_listing: usize,
    /// Whether files are read and written over connections, whose ids must be told.
    pub connected: bool,
    /// Kept alive as long as the place (a server, a temporary directory).
    pub keep: Option<Box<dyn Any + Send + Sync>>,
}

impl Place {
    /// A place with the usual limits: names of 255 bytes, any bytes, 5,000 files in a listing.
    #[must_use]
    pub fn new(
        folder: Arc<dyn Folder>,
        directory: impl Into<RemotePath>,
        beside: impl Into<RemotePath>,
    ) -> Self {
        Self {
            folder,
            directory: directory.into(),
            beside: beside.into(),
            name_limit: 255,
            any_bytes: true,
            carries: |_| true,
            leaves_parts: false,
            keeps: |_| true,
            by_the_minute: false,
            resumes: false,
            long_listing: 5_000,
            connected: false,
            keep: None,
        }
    }

    /// The same place for another scene; what keeps it alive stays here.
    pub(crate) fn again(&self) -> Self {
        Self {
            folder: Arc::clone(&self.folder),
            directory: self.directory.clone(),
            beside: self.beside.clone(),
            keep: None,
            ..*self
        }
    }

    /// The same, of files that are read and written over connections.
    #[must_use]
    pub fn connected(mut self) -> Self {
        self.connected = true;
        self
    }

    /// The same, where a file whose sending broke off can be gone on with.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// The same, keeping something alive.
    #[must_use]
    pub fn keeping(mut self, guard: impl Any + Send + Sync) -> Self {
        self.keep = Some(Box::new(guard));
        self
    }
}

/// The checks that ran, and how the failed ones failed.
struct Suite {
    name: &'static str,
    ran: usize,
    failed: Vec<String>,
}

impl Suite {
    fn new(name: &'static str) -> Self {
        Self { name, ran: 0, failed: Vec::new() }
    }

    async fn run(&mut self, check: &'static str, made: impl Future<Output = ()>) {
        self.ran += 1;
        let result = tokio::time::timeout(CHECK_LIMIT, AssertUnwindSafe(made).catch_unwind()).await;
        let words = match result {
            Ok(Ok(())) => return,
            Err(_) => format!("{check}: not done within {CHECK_LIMIT:?}"),
            Ok(Err(panic)) => {
                let words = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                format!("{check}: {}", words.unwrap_or_default())
            }
        };
        self.failed.push(words);
    }

    fn end(self) {
        assert!(
            self.failed.is_empty(),
            "{} of {} checks of {} failed:\n- {}",
            self.failed.len(),
            self.ran,
            self.name,
            self.failed.join("\n- ")
        );
    }
}

macro_rules! suite {
    ($(#[$doc:meta])* $function:ident, $name:literal, $($module:ident: [$($check:ident),* $(,)?]),* $(,)?) => {
        $(#[$doc])*
        ///
        /// # Panics
        /// When a check fails; names all that did.
        pub async fn $function<F, Fut>(make: F)
        where
            F: Fn() -> Fut,
            Fut: Future<Output = Place>,
        {
            let mut suite = Suite::new($name);
            $($(
                suite
                    .run(stringify!($check), async { $module::$check(make().await).await })
                    .await;
            )*)*
            suite.end();
        }
    };
}

suite! {
    /// Checks a folder itself.
    folder, "Folder",
    folder: [
        what_is_written_reads_back_from_any_offset,
        the_absolute_path_of_a_file_leads_to_it,
        an_empty_file_is_a_file,
        an_aborted_upload_leaves_nothing,
        an_upload_that_is_left_goes_on_at_an_offset,
        begin_write_replaces_what_was_there,
        publish_gives_the_name_and_takes_the_temporary_one,
        publish_without_replacing_touches_nothing,
        publish_replaces_when_asked,
        rename_moves_and_keeps_size_and_time,
        rename_replaces_nothing,
        a_time_that_is_set_is_told_and_kept_by_a_rename,
        what_is_not_there_is_not_found,
        directories_are_made_once_and_list_empty,
        listing_and_stat_agree,
        another_file_of_the_name_has_another_version,
        a_file_is_removed_by_its_version,
        a_lock_that_is_given_back_is_no_hindrance,
        a_long_listing_comes_whole_and_may_be_left_early,
    ],
    names: [
        names_come_back_byte_for_byte,
        names_that_are_no_text_work,
        a_name_of_full_length_works_and_a_longer_one_is_refused,
    ],
}

suite! {
    /// Checks a `FolderSource` over a folder.
    source, "Source",
    source: [
        stable_files_are_offered_and_growing_ones_are_not,
        the_limit_counts_after_sorting_and_only_stable_files,
        known_files_do_not_use_up_the_limit,
        files_without_room_do_not_use_up_the_limit,
        no_poll_waits_for_files_to_be_stable,
        nothing_new_is_listed_once,
        without_stability_one_listing_is_enough,
        temporary_claimed_and_masked_names_are_left,
        directories_below_are_walked_when_asked,
        the_directories_of_the_last_days_are_polled,
        the_oldest_come_first,
        an_offer_opens_as_it_was_found_or_not_at_all,
        a_test_tells_what_is_ignored_and_opens_the_first_file,
    ],
    habits: [
        a_file_that_is_given_once_is_gone_and_not_changed,
        what_only_listing_or_look_tells_contradicts_nothing,
        times_and_sizes_that_listing_and_look_tell_differently_are_no_change,
        looks_that_are_refused_leave_it_to_the_listing,
        looks_that_tell_another_time_each_time_are_doubtful_and_settled_all_the_same,
        a_file_whose_time_is_set_back_is_still_changing,
    ],
    settle: [
        delete_is_idempotent_and_leaves_what_is_new,
        without_times_a_file_overwritten_with_as_many_bytes_is_left,
        keep_leaves_the_file,
        archive_is_idempotent_and_makes_its_directory,
        archive_and_move_replace_nothing,
        a_move_cut_off_after_its_rename_is_done,
        a_file_replaced_before_its_rename_is_put_back,
        a_copy_in_an_archive_is_known_again_after_a_cut,
        refused_files_go_to_the_error_directory_with_their_cause,
        archives_of_each_month_are_made_and_cleared_of_what_was_archived,
        a_claimed_file_is_settled_under_its_claim_or_is_renamed_back,
        a_file_is_taken_when_its_done_file_is_there_which_goes_after_it,
    ],
}

suite! {
    /// Checks a `FolderDestination` over a folder.
    destination, "Destination",
    destination: [
        a_payload_arrives_whole_under_its_name,
        a_taken_name_is_refused_and_nothing_destroyed,
        a_taken_name_is_replaced_or_numbered_when_asked,
        cut_off_while_writing_is_sent_again_under_a_new_name,
        noted_and_still_there_is_published,
        what_a_lost_claim_leaves_unnoted_goes,
        what_is_dropped_as_it_is_noted_goes_with_its_claim,
        noted_and_gone_was_published,
        what_was_noted_of_another_place_does_not_count,
        a_lost_answer_is_found_out,
        a_publication_that_comes_late_is_not_made_twice,
        a_file_that_is_short_there_is_not_published,
        a_whole_file_of_a_wrong_stated_size_is_published,
        a_damaged_temporary_file_is_written_anew,
        directories_of_the_name_are_made,
        the_directory_of_the_day_is_made,
        the_path_below_the_polled_directory_is_kept,
        names_that_lead_out_or_are_too_long_are_refused,
        a_missing_directory_is_no_reason_to_give_up,
        a_probe_leaves_nothing,
    ],
}

/// Checks a folder, and source and destination over it.
///
/// # Panics
/// When a check fails; names all that did.
pub async fn all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Place>,
{
    folder(&make).await;
    source(&make).await;
    destination(&make).await;
}

#[cfg(test)]
mod tests;
