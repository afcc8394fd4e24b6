//! The fields of flows, their sources and destinations.

use super::{POOL, WINDOW};
use crate::words::{BOOL, DURATION, LIST, ORDER, SETTLE, TEXT};
use model::schema::{Field, Group, Kind, Rule, Section, TEXTS};

/// What is done to files.
const STEPS: Kind = Kind::List(&Kind::Table(&steps::STEP));

pub(super) static FLOW: Group = Group::of(&[
    Field::optional("title", TEXT, "A title for people."),
    Field::preset("enabled", BOOL, "true", "Whether the flow runs. With `false` it accepts no files."),
    Field::required("source", Kind::Table(&POLLED), "Where the files come from."),
    Field::optional(
        "steps",
        STEPS,
        "What is done to each file before it is delivered, in this order: `steps = [{ convert_charset = { from = \
        \"ISO-8859-1\" } }]`. Each step makes a new file of what it gets; what was received is kept unchanged beside it. \
        A file that a step cannot process is not delivered: its deliveries fail, and a retry does the steps again as the flow \
        then says. To `on_failure` goes what was received.",
    ),
    Field::required(
        "destination",
        Kind::List(&Kind::Table(&DESTINATION)),
        "Where the files go; at least one `[[flow.NAME.destination]]`.",
    ),
    Field::preset(
        "ordered",
        BOOL,
        "false",
        "Whether each destination gets the files in order, one after another.",
    ),
    Field::preset(
        "continue_after_failure",
        BOOL,
        "false",
        "In an ordered flow: whether the next file is delivered after a delivery has failed permanently. \
        Otherwise the destination waits until a person retries or cancels that delivery.",
    ),
    Field::preset(
        "together",
        BOOL,
        "false",
        "Whether the files of one message stay together. With `true` they are one transfer: the first file (of a \
        multipart/related message its root), whose name `mask` must match, with the others as its attachments, whatever \
        their names. Each destination gets all of them in one message, so its transport must be able to send several files \
        in one (`as2`). Steps change the first file alone. With `false` each file is a transfer of its own.",
    ),
    Field::preset(
        "retention",
        DURATION,
        "30d",
        "How long the content of files is kept after their transfer has ended.",
    ),
    Field::optional(
        "on_failure",
        TEXT,
        "Where a transfer goes of which a delivery failed for good or expired, once all its deliveries have ended: the \
        name of one of the flow's destinations, which then gets nothing else, or of another flow. The payload goes \
        there as a transfer of its own; its metadata says what failed and why, for `file_name` as \
        `{failure.flow}`, `{failure.destination}`, `{failure.endpoint}` and `{failure.error}`. A transfer that a \
        person cancels goes nowhere.",
    ),
    Field::optional(
        "metadata",
        Kind::Map(&Kind::Template),
        "What is added to the metadata of the flow's transfers: keys, and templates of their values with the fields of \
        `file_name` but `{counter}`; a date may hold any characters. Folders use `file_name`, the name of the file at its \
        destination, and with `is_file_path = \"true\"` its absolute path there, below the destination's `paths_below`. \
        Keys that Waybill itself writes (`source_…`, `archive_…`, `failure`) are refused.",
    ),
    Field::optional(
        "pool",
        POOL,
        "The worker pool of the flow's deliveries, a [worker_pool.NAME], but for endpoints that name one \
        themselves. Left out, the pool `default`.",
    ),
]);

/// What every source has.
pub(crate) static SOURCE: Group = Group::of(&[
    Field::preset(
        "mask",
        LIST,
        "*.*",
        "One or several masks for the names of files that the flow accepts: `*` and `?`. `*.*` means every \
        name, also one without a dot.",
    ),
    Field::optional(
        "exclude",
        LIST,
        "One or several masks for names that the flow never accepts, even if `mask` matches them.",
    ),
    Field::preset(
        "mask_is_regex",
        BOOL,
        "false",
        "Whether `mask`, `exclude` and the masks in `where` are regular expressions. They must match the whole name or value.",
    ),
    Field::preset(
        "ignore_case",
        BOOL,
        "false",
        "Whether upper and lower case are the same in `mask`, `exclude` and `where`: `*.edi` then also accepts `A.EDI`.",
    ),
]);

/// What a source that polls an endpoint has besides.
pub(crate) static POLLED: Group = Group::of(&[
    Field::optional("endpoint", Kind::Name(Section::ENDPOINT), "The endpoint that is polled."),
    Field::preset(
        "every",
        DURATION,
        "60s",
        "The time from the start of one poll to the start of the next; at least 1s.",
    ),
    Field::optional(
        "cron",
        TEXT,
        "Instead of `every`: a cron expression that names the times of polls, with five fields (minute, hour, \
        day of the month, month, day of the week), such as `*/5 6-20 * * MON-FRI`. If both the day of the \
        month and the day of the week are restricted, a day that fits either counts. A time that passes \
        while a poll runs, or at which no node could poll, is made up once within ten minutes; after that it \
        is left out.",
    ),
    Field::preset(
        "time_zone",
        TEXT,
        "UTC",
        "The time zone of `cron`, `between`, `not_on`, `expect` and of dates in the names of directories, by its IANA name, such as `Europe/Berlin`. When the \
        clock is put forward, a time that does not exist counts as the first moment after the gap. When it \
        is put back, a `cron` expression with a fixed hour counts the first of the two moments, one that \
        repeats each hour counts both, and a window is open during both.",
    ),
    Field::optional(
        "between",
        Kind::List(&Kind::Table(&WINDOW)),
        "One or several windows; polls begin only within them. A poll that has begun goes on. Left out, polls \
        begin at any time. A run that a person requests is not bound to windows and calendar.",
    ),
    Field::optional(
        "not_on",
        Kind::Name(Section::CALENDAR),
        "The calendar with the days on which no poll begins. A window that goes over midnight belongs to the \
        day on which it begins.",
    ),
    Field::optional(
        "preferred_node",
        TEXT,
        "The name of the node that polls the source as long as it is alive, and has not refused the revision that brings the flow \
        as it is now; otherwise any other node polls it. Left out, the node that comes first does.",
    )
    .per_environment(),
    Field::optional(
        "expect",
        Kind::Table(&EXPECT),
        "How many files are expected by a time of each day on which polls may begin (`between`, `not_on` and `cron` \
        say on which). Where fewer were taken since midnight, the audit event `flow.files_missing` tells it, once a day, and \
        the flow's state and the overview show it until enough have come (`flow.files_arrived`) or the next day \
        is judged.",
    ),
    Field::preset(
        "read_limit",
        Kind::Integer { min: 0, max: 1_000_000 },
        "10",
        "The highest number of files that one poll reads, after sorting; 0 for no limit.",
    ),
    Field::preset(
        "order",
        ORDER,
        "listing",
        "The order in which files are read: `listing`, `arrival` (oldest first) or `name`.",
    ),
    Field::preset(
        "settle",
        SETTLE,
        "recorded",
        "When `after` is carried out: `recorded`, as soon as the file is stored and recorded, or \
        `after_delivery`, when all its deliveries have ended.",
    ),
    Field::optional(
        "retry",
        Kind::Table(&RETRY),
        "How often Waybill tries to read a file that cannot be read.",
    ),
])
.with(&[Rule::AtMostOne(&["every", "cron"])]);

/// What is expected of a source.
static EXPECT: Group = Group::of(&[
    Field::required("by", TEXT, "The time of the day, such as `18:00`, by the clock of `time_zone`."),
    Field::preset("at_least", Kind::Integer { min: 1, max: 1_000_000 }, "1", "How many files are expected."),
]);

/// What a source that receives by a listener has besides.
pub(crate) static RECEIVED: Group = Group::of(&[
    Field::optional(
        "listener",
        Kind::Name(Section::LISTENER),
        "Instead of `endpoint`: the listener that partners send files to.",
    ),
    Field::optional(
        "partner",
        Kind::Name(Section::PARTNER),
        "With `listener`: the flow accepts files from this partner only. Left out, from any known partner.",
    ),
    Field::optional(
        "where",
        Kind::Map(&TEXTS),
        "With `listener`: the flow accepts files with such metadata only: `where = { form_application = \"ORDERS*\", \
        as2_subject = [\"*urgent*\", \"*today*\"] }`. Each key must be in the metadata of the file or its message, and one of its \
        masks match the whole value; of a list one value does. Masks are as in `mask`, also for `mask_is_regex` and \
        `ignore_case`, and may hold `/`. Where no flow accepts a message, its sender is told so. Left out, files with any \
        metadata. Files in answers (`response.flow`) are not chosen by it.",
    ),
]);

/// What every destination has.
pub(crate) static DESTINATION: Group = Group::of(&[
    Field::required("endpoint", Kind::Name(Section::ENDPOINT), "The endpoint."),
    Field::optional(
        "name",
        TEXT,
        "The name of this destination within the flow. Left out, the endpoint's name.",
    ),
    Field::optional(
        "file_name",
        Kind::Template,
        "A template for the names of delivered files, such as `{stem}-{received:%Y%m%d}{ext}`. Left out, \
        files keep their names. Fields: name, stem, ext, received (with a time format), flow, transfer, \
        sequence (the place of a part in its message, with a width), counter, archive.name and archive.sha256 (the copy in the \
        archive of the flow's source, where that has the time in its name), metadata.KEY (a value of the transfer's metadata, such \
        as `{metadata.form_application}`; empty where that is missing), and on a failure route failure.flow, \
        failure.destination, failure.endpoint, failure.error. `{counter:6}` is a running number of this destination with at \
        least six digits; `{counter:6:daily}` begins at 1 each day. A number is given once, also over several nodes, and a \
        delivery that is tried again keeps its own; numbers may be left out.",
    ),
    Field::optional(
        "steps",
        STEPS,
        "What is done to each file before it is delivered to this destination, after the steps of the flow.",
    ),
    Field::optional("retry", Kind::Table(&RETRY), "How failed deliveries are retried."),
    Field::optional(
        "expires_after",
        DURATION,
        "How long a delivery may take, from the moment it was recorded; after that it fails as expired. \
        Left out, there is no limit.",
    ),
    Field::optional(
        "between",
        Kind::List(&Kind::Table(&WINDOW)),
        "One or several windows; deliveries begin only within them, retries too. A delivery that has begun goes on. \
        Left out, deliveries begin at any time.",
    ),
    Field::optional(
        "not_on",
        Kind::Name(Section::CALENDAR),
        "The calendar with the days on which no delivery begins. A window that goes over midnight belongs to the day on \
        which it begins.",
    ),
    Field::preset(
        "time_zone",
        TEXT,
        "UTC",
        "The time zone of `between`, `not_on`, and dates in templates and daily counters, by its IANA name, such as \
         `Europe/Berlin`.",
    ),
]);

static RETRY: Group = Group::of(&[
    Field::preset("attempts", Kind::Integer { min: 1, max: 10_000 }, "12", "The highest number of attempts."),
    Field::preset(
        "first",
        DURATION,
        "30s",
        "The wait after the first failure; it doubles with each further failure.",
    ),
    Field::preset("longest", DURATION, "1h", "The longest wait."),
]);
