//! Messages that are posted as forms, and generalized receipts ("HTTP Transport for Secure EDI").

use crate::report_types::ReportSyntax;
use model::schema::{Field, Group, Kind, TEXTS};

model::choice_of! {
    SYNTAX = ReportSyntax;
}

const TO: Field = Field::optional("to", Kind::Text, "The field `to`. Left out: the partner's AS2 name.");
const FROM: Field = Field::optional("from", Kind::Text, "The field `from`. Left out: our AS2 name.");
const VERSION: Field =
    Field::optional("version", Kind::Text, "The field `Version`, such as \"1.3\". Left out: none.");
const INPUT_FORMAT: Field = Field::optional(
    "input_format",
    Kind::Text,
    "The field `input-format`: what kind of data the files are, such as \"X12\". Left out: none.",
);
const TRANSACTION_SET: Field = Field::optional(
    "transaction_set",
    Kind::Text,
    "The field `Transaction-set`, such as \"850\". Left out: none.",
);
const AGENT: Field = Field::optional(
    "agent",
    Kind::Text,
    "The field `Agent`: the network from which files come. Left out: none.",
);
const APPLICATION: Field = Field::optional(
    "application",
    Kind::Text,
    "The field `Application`: what processes the files at the partner. Left out: none.",
);
const USER_PARAM: Field = Field::optional("user_param", Kind::Text, "The field `UserParam`. Left out: none.");
const INPUT_DATA: Field = Field::optional(
    "input_data",
    Kind::Text,
    "The name of the file in `input-data`. Left out: the file's own name.",
);
const EXPIRES_AFTER: Field = Field::optional(
    "expires_after",
    Kind::Duration,
    "The field `Expiration`: so long after a message was first sent. After that no attempt is made, and the delivery fails.",
);

/// A partner's `form`.
pub(super) static FORM: Group = Group::of(&[
    Field::preset(
        "post",
        Kind::Bool,
        "false",
        "Whether messages to the partner are posted as HTML forms (`multipart/form-data`), with the message in `input-data` and who \
        sends it to whom in fields. Messages from the partner are read in both forms.",
    ),
    Field::optional(
        "ref_num",
        Kind::Bool,
        "Whether forms have a `RefNum`, a number that no other message of ours has. Left out: yes.",
    ),
    Field::optional(
        "date_time",
        Kind::Bool,
        "Whether forms have a `DateTime`: when the message was first sent. Left out: no.",
    ),
    TO,
    FROM,
    VERSION,
    INPUT_FORMAT,
    TRANSACTION_SET,
    AGENT,
    APPLICATION,
    USER_PARAM,
    INPUT_DATA,
    EXPIRES_AFTER,
]);

/// What a flow's destination says of forms.
pub(super) static DESTINATION: Group = Group::of(&[
    Field::optional(
        "form",
        Kind::Table(&FLOW_FORM),
        "The fields of forms to the partner, for the files of this destination, in place of those in the partner's table `form`.",
    ),
    Field::optional(
        "priority",
        Kind::Integer { min: 1, max: 5 },
        "How urgent the files of this destination are beside others that wait for the same endpoint, from 1, the most urgent, to \
        5: of those that are due, they go first. It is also the field `Priority` of forms. Left out: as 3, and no field.",
    ),
    Field::preset(
        "error_notification",
        Kind::Bool,
        "false",
        "Whether this destination tells the sender of a message that it could not be processed after it was acknowledged: a \
        GISB-Error-Notification goes to the endpoint's partner, as a form, in place of the file. For the destination that \
        `on_failure` of the flow names.",
    ),
]);

static FLOW_FORM: Group = Group::of(&[
    TO,
    FROM,
    VERSION,
    INPUT_FORMAT,
    TRANSACTION_SET,
    AGENT,
    APPLICATION,
    USER_PARAM,
    INPUT_DATA,
    EXPIRES_AFTER,
]);

/// A partner's `mdn.report_type`.
pub(super) const REPORT_TYPE: Field = Field::optional(
    "report_type",
    Kind::Text,
    "The type of the receipt that messages ask for in place of an MDN, such as \"GISB-Acknowledgement-Receipt\", or one of \
    `reports`. `ask` says whether it is to be signed. Left out: an MDN.",
);

/// A partner's `reports`.
pub(super) const REPORTS: Field = Field::optional(
    "reports",
    Kind::List(&REPORT_TABLE),
    "Types of receipts other than MDNs that were agreed with the partner; `GISB-Acknowledgement-Receipt` and \
    `GISB-Error-Notification` are known. What the partner asks for by such a name it gets, and its own are understood.",
);

const REPORT_TABLE: Kind = Kind::Table(&REPORT);

static REPORT: Group = Group::of(&[
    Field::required("type", Kind::Text, "Its name: the parameter `report-type`."),
    Field::preset(
        "syntax",
        SYNTAX,
        "fields",
        "How its part for programs is written: `fields` (`name: value`), `assignments` (`name=value*`), or `xml`. All three are \
        read.",
    ),
    Field::optional(
        "media_type",
        Kind::Text,
        "The media type of that part. Left out: text/plain, or application/xml.",
    ),
    Field::preset("status", Kind::Text, "request-status", "The field that says what became of the message."),
    Field::preset(
        "success",
        TEXTS,
        "ok",
        "What that field says of a message that was accepted, in any case; the first is written. Everything else is a refusal.",
    ),
    Field::preset(
        "failure",
        Kind::Text,
        "error",
        "What is written there of a message that was not accepted, before the reason.",
    ),
    Field::optional(
        "returns",
        TEXTS,
        "The names of fields of the message, or of header fields, that are given back as `Original-NAME`. Message-ID and RefNum \
        always are.",
    ),
    Field::preset(
        "is_error",
        Kind::Bool,
        "false",
        "Whether such a receipt always says that a message was not accepted.",
    ),
]);
