//! The fields of sources and destinations over any folder.

use super::Claim;
use crate::folder::{Overwrite, Verify, filter};
use model::IdentityRule;
use model::schema::{Field, Group, Kind, Rule, TEXTS};

/// Fields of a source that polls a folder.
pub static SOURCE: Group = Group::of(&[
    Field::required(
        "after",
        AFTER,
        "What happens to a source file after Waybill has stored it safely: `\"delete\"`, `\"keep\"`, `{ \
        archive = \"DIR\" }` (with the time in its name unless `timestamp = false`), `{ archive_locally = \
        \"DIR\" }` or `{ move = \"DIR\" }`. Required for a polled source; there is no default.",
    ),
    Field::optional(
        "stable_for",
        Kind::Duration,
        "How long the size and modification time of a file must stay the same before it is read; `0s` reads \
        it at once. 5 seconds if left out, or `every` where that is shorter. No poll waits for it: a poll that finds new files \
        is followed by another one after this time. Choose it longer than a writer may pause.",
    ),
    Field::preset(
        "recursive",
        Kind::Bool,
        "false",
        "Whether subdirectories are polled as well; a file's path below the polled directory is kept.",
    ),
    Field::optional(
        "directory",
        Kind::Template,
        "A directory below the endpoint's that is polled in its place. Its name may contain the date by the clock of \
        `time_zone`, as `in/{date:%Y/%m/%d}`: then those of today and of the days before (`past_days`) are \
        polled, and one that is missing is taken for empty.",
    )
    .per_environment(),
    Field::preset(
        "past_days",
        Kind::Integer { min: 0, max: 366 },
        "1",
        "With a date in `directory`: how many days before today are polled too. What is left in an older directory is not \
        taken any more.",
    ),
    Field::preset(
        "ignore_times",
        Kind::Bool,
        "false",
        "Whether modification times are ignored, for servers that report a different time of a file on each \
        request (the audit event `offer.unstable` shows this). A file is then recognised by its path and \
        size alone. The consequences: a file whose size is set before its content is written may be read \
        half written; with `after = \"keep\"` a new file with the same name and size is not noticed; `order \
        = \"arrival\"` sorts by name; and before a file is deleted, archived or moved, it is read again to \
        make sure that it is still the same file. When this option is changed, files that are kept at the \
        source are transferred once more.",
    ),
    Field::preset(
        "identity",
        Kind::Choice(IdentityRule::WORDS),
        "name_size_time",
        "What makes a file a new one. `name_size_time`: its path, size or modification time differs from that of a file \
        that was taken and is still there. `name`: its path; a file that stays at the source (`after = \"keep\"`) \
        and is changed there is not read again until it was gone from a listing. `content`: its SHA-256; a file of \
        which the flow has taken the content before from this endpoint, under whatever name, is read, settled and not \
        transferred again (audit event `offer.duplicate`), unless that transfer failed or was cancelled.",
    ),
    Field::preset(
        "claim",
        Kind::Choice(Claim::WORDS),
        "lease",
        "How a file is kept from other programs while it is taken. `lease`: the gateway's nodes agree in their database, \
        and the file keeps its name until it is settled. `rename`: it is renamed to `NAME.stage` in its directory before \
        it is read, for directories that other programs poll too, and is deleted, archived or moved under that name; a \
        file that was not taken in the end is renamed back. A claim that a crash left behind is released after \
        30 minutes and 30 polls. Files with such names are never read. Not with `after = \"keep\"`.",
    ),
    Field::preset(
        "stream",
        Kind::Bool,
        "false",
        "Whether files go straight from the source to the destination, without a copy on the gateway: for files that are \
        too large for its disk, or must not be kept there. Each attempt of a delivery reads the file anew, and publishes \
        nothing where the file was changed meanwhile; `after` follows when it is delivered. This promises less: a file that \
        is removed or changed before it is delivered is lost to the flow (its delivery fails and says so), nothing can be \
        downloaded or resubmitted, and the source must stay reachable until the end. The flow has one destination, a \
        folder, and no steps.",
    ),
    Field::optional(
        "done_file",
        Kind::Template,
        "A file is read only when its done file is there: `{name}.done` for the file's name with an ending, \
        `{stem}.ok` for its name without the extension. Done files are never read themselves; after their file they are \
        deleted, archived or moved as it is, or stay with it. `mask` and the filters are about files, not about done files. \
        A file must be stable as well; `stable_for = \"0s\"` relies on the done file alone.",
    ),
    Field::optional(
        "attached_files",
        TEXTS,
        "The names of files that are read with a file, as its attachments, where they are there: `[\"{stem}.pdf\", \
        \"{name}.sig\"]`, with `{name}` for the file's name or `{stem}` for its name without the extension. They must be \
        complete before the file appears, or before its done file. Files with such names are never read by themselves; \
        after their file they are deleted, archived or moved as it is, or stay with it. With `together = true` of the flow all \
        of them go out in one message; else each is a transfer of its own.",
    ),
    filter::MIN_SIZE,
    filter::MAX_SIZE,
    filter::MIN_AGE,
    filter::MAX_AGE,
    filter::EMPTY,
    Field::optional(
        "error_directory",
        Kind::Directory,
        "The directory that files are moved to when they are refused: they could not be staged, or, with `settle = \
        \"after_delivery\"`, a delivery failed for good. The cause is written beside each, to `NAME.error.json`. \
        Without it a refused file stays where it is, and the overview shows it. With `settle = \"recorded\"` the \
        source file is settled before it is delivered, so a failed delivery moves nothing: the transfer is shown as \
        failed, and its content is kept for `retention`, to be sent again. The name may contain dates, as that of an \
        archive.",
    )
    .per_environment(),
])
.with(&[Rule::NeedsOneOf("past_days", &["directory"])]);

const AFTER: Kind = Kind::OneOf(&[Kind::Choice(&["delete", "keep"]), Kind::Table(&AFTER_TABLE)]);

static AFTER_TABLE: Group = Group::of(&[
    Field::optional(
        "archive",
        Kind::Directory,
        "The directory at the endpoint that files are archived to. It is created when it is missing. Its name may \
        contain `{flow}` and the time at which a file was found, as `done/{received:%Y-%m}`, by the clock of \
        `time_zone`.",
    )
    .per_environment(),
    Field::optional(
        "archive_locally",
        Kind::LocalDirectory,
        "For remote endpoints: a directory of the gateway's machine, below its `roots.files`, that a copy of each \
        file is archived to. The file at the endpoint is deleted when the copy is durable. The directory is created \
        when it is missing, and its name may contain `{flow}` and `{received:FORMAT}`. Several nodes need a directory \
        that they share: each writes what it settles.",
    )
    .per_environment(),
    Field::preset(
        "timestamp",
        Kind::Bool,
        "true",
        "Whether the time at which the file was found is added to its name in the archive.",
    ),
    Field::optional(
        "keep_for",
        Kind::Duration,
        "How long a file stays in the archive; then it is deleted, by a check every ten minutes. This holds for files that Waybill archived while \
        this option was set, as they were archived: any other file stays, and one that was changed in the archive \
        as well. Left out, archived files are never deleted.",
    ),
    Field::optional(
        "move",
        Kind::Directory,
        "The directory that files are moved to under their own names. Its name may contain dates, as that of an \
        archive.",
    )
    .per_environment(),
])
.with(&[
    Rule::ExactlyOne(&["archive", "archive_locally", "move"]),
    Rule::NeedsOneOf("timestamp", ARCHIVES),
    Rule::NeedsOneOf("keep_for", ARCHIVES),
]);

const ARCHIVES: &[&str] = &["archive", "archive_locally"];

/// The source option for the end of unfinished files' names, with the protocol's usual suffix as default.
#[must_use]
pub const fn unfinished(suffix: &'static str) -> Field {
    Field::preset(
        "temporary_suffix",
        Kind::Text,
        suffix,
        "Files whose names end with this are still being written, and are never read.",
    )
}

/// Fields of a destination that is a folder.
pub static DESTINATION: Group = Group::of(&[
    Field::optional(
        "directory",
        Kind::Template,
        "A directory below the endpoint's that files are delivered to. Its name may contain `{flow}` and the time at which a \
        file was received by the clock of `time_zone`, as `{received:%Y/%m/%d}`. It is created when it is missing.",
    )
    .per_environment(),
    Field::preset("prefix", Kind::Text, "", "Text that is put before the names of delivered files."),
    Field::preset("suffix", Kind::Text, "", "Text that is put after the names of delivered files."),
    Field::preset(
        "overwrite",
        Kind::Choice(Overwrite::WORDS),
        "refuse",
        "What happens when a file with the same name exists: with `refuse` the delivery fails and the \
        existing file stays, `replace` replaces it, in one step where the server supports that, `rename` \
        adds a number to the new file's name, `skip_same` reads the existing file: if its content is the same, \
        the delivery is done, otherwise it fails as with `refuse`. `append` adds the file to the end of the existing one, \
        without a temporary name, so the receiver may see a part of it, and after an interruption a person may have to \
        decide what to do; the flow must be `ordered`. WebDAV cannot append.",
    ),
    Field::preset(
        "verify",
        Kind::Choice(Verify::WORDS),
        "size",
        "How it is verified that a file arrived whole: `size` by the size that the server reports, `checksum` by \
        a checksum as well: the one that the server computes, where it can, else the SHA-256 of the file, which is read back; `none` for servers that report wrong sizes.",
    ),
    Field::preset(
        "keep_time",
        Kind::Bool,
        "false",
        "Whether delivered files get the modification time that they had at their source. Where the server does \
        not set times, the receipt says so.",
    ),
    Field::optional(
        "marker",
        Kind::Template,
        "The name of an empty file that is written after each delivered file, such as `{name}.done`; an existing one \
        is replaced. Fields: `{name}` (the delivered file's name), `{stem}` and `{ext}` (its parts). After an \
        interruption a marker may be written again, although the receiver has removed it.",
    ),
    Field::optional(
        "paths_below",
        Kind::List(&Kind::Directory),
        "Absolute directories below which the metadata of a file may name its path: a file whose metadata has `is_file_path` \
        `true` is written to the absolute path that its metadata `file_name` is, and refused where that is not below one of \
        these. Left out, all such files are refused. Without `is_file_path`, `file_name` is the name in the endpoint's directory.",
    ),
    Field::preset(
        "create_directories",
        Kind::Bool,
        "false",
        "Whether the endpoint's directory is created when it is missing. Off by default, because a missing \
        directory may mean a wrong path or a file system that is not mounted.",
    ),
]);

/// The destination option for temporary names; `forms` contains a table with [`temporary_suffix`] and the protocol's
/// own default.
#[must_use]
pub const fn temporary(forms: &'static [Kind]) -> Field {
    Field::optional(
        "temporary",
        Kind::OneOf(forms),
        "How files are named while they are written; a complete file is then renamed. `\"none\"` writes \
        each file under its final name from the start, for servers that collect files as soon as they are \
        closed (drop boxes) or do not allow renaming; the receiver may then see incomplete files.",
    )
}

/// The beginning of temporary names, in the table in [`temporary`].
pub const TEMPORARY_PREFIX: Field = Field::preset(
    "prefix",
    Kind::Text,
    ".",
    "The beginning of a file's name while the file is being written.",
);

/// The directory of temporary files, in the table in [`temporary`].
pub const TEMPORARY_DIRECTORY: Field = Field::optional(
    "directory",
    Kind::Directory,
    "A directory for files that are being written, on the same file system as the endpoint's; it is created when it is \
    missing. Without it they lie beside their final place.",
);

/// The end of temporary names, in the table in [`temporary`].
#[must_use]
pub const fn temporary_suffix(suffix: &'static str) -> Field {
    Field::preset("suffix", Kind::Text, suffix, "The end of a file's name while the file is being written.")
}
