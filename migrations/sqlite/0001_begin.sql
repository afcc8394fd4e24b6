-- Waybill's tables on SQLite. The same as migrations/postgres, in SQLite's types:
-- UUID as BLOB, times as RFC 3339 TEXT in UTC (their order as text is their order in time), JSON as TEXT.

-- Who lives. One row for each node name, for ever: its epoch only grows.
CREATE TABLE leases (
    node        TEXT    NOT NULL PRIMARY KEY,
    -- Which installation holds or held it: a start of the same one takes it over, another waits.
    instance    BLOB    NOT NULL,
    epoch       BIGINT  NOT NULL,
    -- False once released or fenced: then nobody holds this epoch.
    held        BOOLEAN NOT NULL,
    acquired_at TEXT    NOT NULL,
    until_at    TEXT    NOT NULL
);

-- Which node polls which source.
CREATE TABLE source_leases (
    source TEXT   NOT NULL PRIMARY KEY,
    node   TEXT   NOT NULL,
    epoch  BIGINT NOT NULL
);

CREATE TABLE offers (
    id             BLOB    NOT NULL PRIMARY KEY,
    flow           TEXT    NOT NULL,
    endpoint       TEXT    NOT NULL,
    -- SHA-256 of the identity's key, in hexadecimal: paths can be longer than an index entry may be.
    identity       TEXT    NOT NULL,
    path           TEXT    NOT NULL,
    size           BIGINT,
    modified_at    TEXT,
    version        TEXT,
    -- SHA-256 of its content in hexadecimal, where the flow tells files apart by it.
    content        TEXT,
    -- SHA-256 of the key of the done file that it was taken with, in hexadecimal.
    done_file      TEXT,
    state          TEXT    NOT NULL,
    found_at       TEXT    NOT NULL,
    updated_at     TEXT    NOT NULL,
    failures       BIGINT  NOT NULL,
    source_data    TEXT    NOT NULL,
    -- Whether its identity must not be offered again.
    hides          BOOLEAN NOT NULL,
    -- Settled and left at the source: hides as long as listings show it.
    kept           BOOLEAN NOT NULL,
    listed_at      TEXT,
    -- recorded or after_delivery; null when there is nothing to settle (a reception).
    settle_when    TEXT,
    -- taken or refused, while the source must still be told; null when not.
    settle_outcome TEXT,
    -- Whether settling needs the payloads, for an archive on the gateway's machine.
    needs_payload  BOOLEAN NOT NULL,
    -- When to stage or settle it again.
    next_at        TEXT,
    -- Who settles it now.
    node           TEXT,
    epoch          BIGINT,
    error          TEXT
);
CREATE UNIQUE INDEX offers_hiding ON offers (identity) WHERE hides;
CREATE INDEX offers_by_content ON offers (flow, endpoint, content) WHERE content IS NOT NULL;
CREATE INDEX offers_by_done_file ON offers (done_file) WHERE hides AND done_file IS NOT NULL;
CREATE INDEX offers_to_settle ON offers (flow, next_at) WHERE settle_outcome IS NOT NULL;
CREATE INDEX offers_kept ON offers (flow, endpoint, listed_at) WHERE kept;
CREATE INDEX offers_refused ON offers (flow, endpoint) WHERE kept AND state = 'refused';
CREATE INDEX offers_settling ON offers (node, epoch) WHERE node IS NOT NULL;

-- Whether the files came that flows expect by a time of the day: the last day of each flow.
CREATE TABLE expectations (
    flow     TEXT    NOT NULL PRIMARY KEY,
    -- As 2026-12-24, by the clock of the flow's zone.
    day      TEXT    NOT NULL,
    due_at   TEXT NOT NULL,
    at_least BIGINT  NOT NULL,
    found    BIGINT  NOT NULL,
    missing  BOOLEAN NOT NULL
);

-- Flows whose last poll failed.
CREATE TABLE failing_polls (
    flow     TEXT    NOT NULL PRIMARY KEY,
    endpoint TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    -- When a poll failed first, and last.
    since_at TEXT NOT NULL,
    last_at  TEXT NOT NULL,
    failures BIGINT  NOT NULL,
    error    TEXT    NOT NULL
);

-- Flows whose files wait at their source, because staging has no room for them.
CREATE TABLE waiting_for_room (
    flow     TEXT    NOT NULL PRIMARY KEY,
    endpoint TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    since_at TEXT NOT NULL,
    files    BIGINT  NOT NULL,
    -- The largest of them, and the bytes that it needs.
    largest  TEXT    NOT NULL,
    bytes    BIGINT  NOT NULL
);

-- Flows with files at their source that are claimed (.stage) and for which no recorded offer waits.
CREATE TABLE claims_left (
    flow        TEXT    NOT NULL PRIMARY KEY,
    node        TEXT    NOT NULL,
    since_at    TEXT NOT NULL,
    released_at TEXT NOT NULL,
    files       BIGINT  NOT NULL,
    -- One of them, by its name without the claim.
    path        TEXT    NOT NULL
);

-- Endpoints that failures took offline on a node, until they are online again.
CREATE TABLE offline_endpoints (
    endpoint TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    -- Since when nothing has succeeded, and until when it is not tried.
    since_at TEXT NOT NULL,
    until_at TEXT NOT NULL,
    failures BIGINT  NOT NULL,
    -- The revision that was in force: under another one it is tried at once.
    revision BIGINT  NOT NULL,
    error    TEXT,
    PRIMARY KEY (endpoint, node)
);

-- Ends of certificates that were warned of.
CREATE TABLE certificate_warnings (
    -- SHA-256 of the certificate, in hexadecimal.
    fingerprint TEXT   NOT NULL,
    -- How many days before its end; 0 for its end.
    days        BIGINT NOT NULL,
    warned_at   TEXT NOT NULL,
    PRIMARY KEY (fingerprint, days)
);

-- Files in archives that are removed when their time is over.
CREATE TABLE archived_files (
    -- SHA-256 of place and path, in hexadecimal.
    key         TEXT   NOT NULL PRIMARY KEY,
    flow        TEXT   NOT NULL,
    -- Where the archive is: at an endpoint, or on a node.
    endpoint    TEXT,
    node        TEXT,
    path        TEXT   NOT NULL,
    size        BIGINT,
    modified_at TEXT,
    archived_at TEXT NOT NULL,
    remove_at   TEXT NOT NULL
);
CREATE INDEX archived_files_due ON archived_files (remove_at);

CREATE TABLE payloads (
    id         BLOB   NOT NULL PRIMARY KEY,
    length     BIGINT NOT NULL,
    -- Null only of what is streamed and was not delivered yet.
    sha256     BLOB,
    media_type TEXT,
    file_name  TEXT   NOT NULL,
    staged_at  TEXT   NOT NULL,
    -- What a step made it of, and what that step did; null where it was received.
    parent_id  BLOB REFERENCES payloads (id),
    made_by    TEXT,
    -- Whether its bytes are not staged: each attempt of its delivery reads them at their source.
    streamed   BOOLEAN NOT NULL,
    -- Set before the bytes are unlinked, at the end of retention.
    removed_at TEXT
);

CREATE TABLE transfers (
    id             BLOB   NOT NULL PRIMARY KEY,
    kind           TEXT   NOT NULL,
    flow           TEXT   NOT NULL,
    -- Of the definitions: it goes through the flow as that revision has it.
    revision       BIGINT NOT NULL,
    offer_id       BLOB REFERENCES offers (id),
    parent_id      BLOB,
    partner        TEXT,
    payload_id     BLOB   NOT NULL REFERENCES payloads (id),
    file_name      TEXT   NOT NULL,
    state          TEXT   NOT NULL,
    created_at     TEXT   NOT NULL,
    updated_at     TEXT   NOT NULL,
    ended_at       TEXT,
    metadata       TEXT   NOT NULL,
    -- Its part's place in its offer or message, from 1.
    sequence       BIGINT NOT NULL,
    -- How long its payloads are kept after its end, in microseconds, and until when that is.
    retain_for     BIGINT NOT NULL,
    retained_until TEXT,
    -- Where it goes if it fails for good.
    failure_route  TEXT,
    -- All its payloads have been removed.
    released       BOOLEAN NOT NULL
);
CREATE INDEX transfers_by_time ON transfers (created_at, id);
CREATE INDEX transfers_by_state ON transfers (state, created_at, id);
CREATE INDEX transfers_by_flow ON transfers (flow, created_at, id);
CREATE INDEX transfers_by_name ON transfers (substr(file_name, 1, 200), created_at, id);
CREATE INDEX transfers_by_partner ON transfers (partner, created_at, id) WHERE partner IS NOT NULL;
CREATE INDEX transfers_by_offer ON transfers (offer_id);
CREATE INDEX transfers_by_parent ON transfers (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX transfers_open_receipts ON transfers (partner) WHERE kind = 'receipt' AND ended_at IS NULL;
CREATE INDEX transfers_retained ON transfers (retained_until) WHERE NOT released;

-- Which transfers need which bytes: a transfer's own, and the evidence of its receipts.
CREATE TABLE payload_references (
    payload_id  BLOB NOT NULL REFERENCES payloads (id),
    transfer_id BLOB NOT NULL REFERENCES transfers (id),
    PRIMARY KEY (payload_id, transfer_id)
);
CREATE INDEX payload_references_by_transfer ON payload_references (transfer_id);

-- The files that came with a transfer's payload and are sent with it, in their order from 1.
CREATE TABLE attachments (
    transfer_id BLOB   NOT NULL REFERENCES transfers (id),
    place       BIGINT NOT NULL,
    payload_id  BLOB   NOT NULL REFERENCES payloads (id),
    -- What its source said of it.
    metadata    TEXT   NOT NULL,
    PRIMARY KEY (transfer_id, place)
);
CREATE INDEX attachments_by_payload ON attachments (payload_id);

-- The next number of each lane. Its row is locked while a transfer is recorded, so numbers have no
-- gaps and follow the order of recording.
CREATE TABLE lanes (
    lane     TEXT   NOT NULL PRIMARY KEY,
    next_seq BIGINT NOT NULL
);

-- The running numbers in the names of delivered files, of each flow's destination; `day` is empty for a number
-- that runs on. A row is locked while a delivery is recorded.
CREATE TABLE name_counters (
    flow        TEXT   NOT NULL,
    destination TEXT   NOT NULL,
    day         TEXT   NOT NULL,
    last_number BIGINT NOT NULL,
    PRIMARY KEY (flow, destination, day)
);

CREATE TABLE deliveries (
    id               BLOB    NOT NULL PRIMARY KEY,
    transfer_id      BLOB    NOT NULL REFERENCES transfers (id),
    destination      TEXT    NOT NULL,
    endpoint         TEXT    NOT NULL,
    -- The endpoint that it reads the file from; null where it sends staged bytes.
    source_endpoint  TEXT,
    -- Whose flow it goes through since a person retried it; null: that of its transfer.
    revision         BIGINT,
    -- What it sends; null until the steps of its flow have made that.
    payload_id       BLOB REFERENCES payloads (id),
    file_name        TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    created_at       TEXT    NOT NULL,
    updated_at       TEXT    NOT NULL,
    -- Attempts begun, ever; and attempts failed since a person last sent it on its way.
    attempt          BIGINT  NOT NULL,
    failures         BIGINT  NOT NULL,
    lane             TEXT,
    lane_seq         BIGINT,
    -- Whether it keeps those behind it in its lane waiting.
    lane_open        BOOLEAN NOT NULL,
    -- Whether the lane goes on when it fails or expires.
    lane_continues   BOOLEAN NOT NULL,
    -- Its transfer is held.
    held             BOOLEAN NOT NULL,
    due_at           TEXT    NOT NULL,
    -- The opening of its destination's hours, to which it was put off.
    opens_at         TEXT,
    expires_at       TEXT,
    receipt_deadline TEXT,
    -- Whose claim it is; kept after the end of the claim's attempt only while a receipt is awaited.
    node             TEXT,
    epoch            BIGINT,
    -- Its last attempt was cut off by the end of a node.
    interrupted      BOOLEAN NOT NULL,
    receipt          TEXT,
    error            TEXT,
    error_kind       TEXT,
    ended_at         TEXT
);
CREATE INDEX deliveries_by_transfer ON deliveries (transfer_id);
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint, created_at, id);
CREATE INDEX deliveries_awaiting ON deliveries (endpoint, receipt_deadline) WHERE state = 'awaiting_receipt';
CREATE INDEX deliveries_claimable ON deliveries (due_at, id)
    WHERE state IN ('pending', 'retrying') AND NOT held AND lane IS NULL AND payload_id IS NOT NULL;
CREATE INDEX deliveries_open ON deliveries (state, due_at)
    WHERE state IN ('pending', 'sending', 'awaiting_receipt', 'retrying');
CREATE INDEX deliveries_failing ON deliveries (updated_at, id) WHERE state IN ('retrying', 'failed', 'expired');
CREATE INDEX deliveries_waiting ON deliveries (endpoint) WHERE state IN ('pending', 'retrying');
CREATE INDEX deliveries_lanes ON deliveries (lane, lane_seq) WHERE lane_open;
CREATE INDEX deliveries_claimed ON deliveries (node, epoch) WHERE state = 'sending';
CREATE INDEX deliveries_overdue ON deliveries (receipt_deadline) WHERE state = 'awaiting_receipt';
CREATE INDEX deliveries_put_off ON deliveries (opens_at) WHERE opens_at IS NOT NULL;
CREATE INDEX deliveries_expiring ON deliveries (expires_at)
    WHERE expires_at IS NOT NULL AND state IN ('pending', 'retrying', 'awaiting_receipt');

-- Transfers whose flow has steps. A row stays when they are done, so that no attempt's number comes twice.
CREATE TABLE processing (
    transfer_id BLOB NOT NULL PRIMARY KEY REFERENCES transfers (id),
    -- When the steps may be begun; null when there is nothing left to do.
    due_at      TEXT,
    -- The transfer is held.
    held        BOOLEAN NOT NULL,
    -- Attempts begun, ever; and attempts failed in a row.
    attempt     BIGINT NOT NULL,
    failures    BIGINT NOT NULL,
    -- Who does them now.
    node        TEXT,
    epoch       BIGINT,
    -- Why the last attempt failed; null once they are done.
    error       TEXT,
    error_kind  TEXT,
    updated_at  TEXT NOT NULL
);
CREATE INDEX processing_due ON processing (due_at, transfer_id) WHERE due_at IS NOT NULL AND node IS NULL AND NOT held;
CREATE INDEX processing_failing ON processing (due_at) WHERE due_at IS NOT NULL AND error IS NOT NULL;
CREATE INDEX processing_claimed ON processing (node, epoch) WHERE node IS NOT NULL;

CREATE TABLE attempts (
    id          BLOB   NOT NULL PRIMARY KEY,
    delivery_id BLOB   NOT NULL REFERENCES deliveries (id),
    number      BIGINT NOT NULL,
    node        TEXT   NOT NULL,
    epoch       BIGINT NOT NULL,
    started_at  TEXT   NOT NULL,
    ended_at    TEXT,
    -- Null while under way; then a delivery state, or interrupted.
    outcome     TEXT,
    error       TEXT,
    error_kind  TEXT,
    receipt     TEXT,
    UNIQUE (delivery_id, number)
);

-- Durable state of a delivery in its transport's words, written before the act that it describes.
CREATE TABLE notes (
    delivery_id BLOB NOT NULL REFERENCES deliveries (id),
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (delivery_id, key)
);

-- Which delivery a receipt that comes later belongs to.
CREATE TABLE correlations (
    key         TEXT NOT NULL PRIMARY KEY,
    delivery_id BLOB NOT NULL REFERENCES deliveries (id)
);
CREATE INDEX correlations_by_delivery ON correlations (delivery_id);

-- Messages that were begun or answered: a repeated one gets the same bytes again.
CREATE TABLE intake_keys (
    -- SHA-256 of the key, in hexadecimal: a peer chooses its length.
    digest      TEXT   NOT NULL PRIMARY KEY,
    key         TEXT   NOT NULL,
    -- in_progress, answered, or refused (may begin again).
    state       TEXT   NOT NULL,
    node        TEXT   NOT NULL,
    epoch       BIGINT NOT NULL,
    began_at    TEXT   NOT NULL,
    answered_at TEXT,
    offer_id    BLOB,
    reply_head  TEXT,
    reply_body  BLOB,
    -- SHA-256 over the SHA-256s of its parts: the same key with other content is no repetition.
    content_digest BLOB,
    -- The transfer of the receipt of its last refusal, where that is sent later: it is cancelled when the key is answered or
    -- refused again.
    refusal_id BLOB,
    -- Until when its connection waits for a payload that goes into the answer; then the head of the whole answer, and its
    -- body, which is a payload of the delivery that gave it.
    answer_until TEXT,
    answer_head TEXT,
    answer_payload_id BLOB,
    -- The message came in the answer to a delivery.
    from_answer BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX intake_keys_by_time ON intake_keys (began_at);
CREATE INDEX intake_keys_by_offer ON intake_keys (offer_id) WHERE offer_id IS NOT NULL;
CREATE INDEX intake_keys_in_progress ON intake_keys (node, epoch) WHERE state = 'in_progress';

-- Messages that have arrived in part, whose senders may go on where a connection broke. Their bytes are in staging, in segments:
-- whoever takes a message over from a writer that has not ended writes into a file of its own.
CREATE TABLE partial_messages (
    -- SHA-256 of the key, in hexadecimal: a peer chooses its length.
    digest     TEXT    NOT NULL PRIMARY KEY,
    key        TEXT    NOT NULL,
    -- Another one when the message starts over.
    id         BLOB NOT NULL,
    listener   TEXT    NOT NULL,
    partner    TEXT    NOT NULL,
    -- The key of the message in intake_keys.
    message    TEXT    NOT NULL,
    -- Grows with each holder: what an earlier one writes is not counted.
    fence      BIGINT  NOT NULL,
    -- Who writes it; null once that has ended, and the epoch once it was taken over.
    node       TEXT,
    epoch      BIGINT,
    -- Bytes of the whole message, where they are known.
    total      BIGINT,
    -- Bytes that are durable, and the last of them.
    durable    BIGINT  NOT NULL,
    last_byte  BIGINT,
    -- It was answered: of its bytes only their number and the last one are left.
    answered   BOOLEAN NOT NULL,
    began_at   TEXT NOT NULL,
    used_at    TEXT NOT NULL,
    keep_until TEXT NOT NULL
);
CREATE INDEX partial_messages_kept ON partial_messages (keep_until);
CREATE INDEX partial_messages_by_listener ON partial_messages (listener);

CREATE TABLE partial_segments (
    id       BLOB NOT NULL PRIMARY KEY,
    digest   TEXT   NOT NULL,
    -- Its place among the segments of the message, from 0.
    position BIGINT NOT NULL,
    -- Bytes that are durable.
    length   BIGINT NOT NULL
);
CREATE INDEX partial_segments_by_message ON partial_segments (digest, position);

-- Certificates that partners propose (Certificate Exchange Messaging). Nothing is used of them until definitions in force hold
-- them. Rows stay: a request that comes again changes nothing.
CREATE TABLE certificate_proposals (
    id           BLOB NOT NULL PRIMARY KEY,
    partner      TEXT   NOT NULL,
    -- The partner's id of the request, as SHA-256 in hexadecimal: a peer chooses its length.
    digest       TEXT   NOT NULL,
    -- waiting, agreed, refused, accepted, rejected, expired or superseded.
    state        TEXT   NOT NULL,
    received_at  TEXT NOT NULL,
    -- The proposal as it came.
    proposal     TEXT NOT NULL,
    decided_by   TEXT,
    decided_at   TEXT,
    reason       TEXT,
    -- The transfer of the answer.
    response_id  BLOB,
    UNIQUE (partner, digest)
);
CREATE INDEX certificate_proposals_open ON certificate_proposals (received_at)
    WHERE state IN ('waiting', 'agreed', 'refused');

-- Certificates of ours that are announced to partners, with the request that is sent.
CREATE TABLE certificate_announcements (
    id           BLOB NOT NULL PRIMARY KEY,
    partner      TEXT   NOT NULL,
    -- Our id of the request.
    request_id   TEXT   NOT NULL UNIQUE,
    -- waiting, accepted, rejected or expired.
    state        TEXT   NOT NULL,
    announced_at TEXT NOT NULL,
    respond_by   TEXT NOT NULL,
    -- What is announced.
    announcement TEXT NOT NULL,
    media_type   TEXT   NOT NULL,
    file_name    TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    content      BLOB NOT NULL,
    reason       TEXT,
    answered_at  TEXT,
    -- How often it was sent, and when it is sent next.
    sent         BIGINT NOT NULL,
    next_at      TEXT,
    transfer_id  BLOB
);
CREATE INDEX certificate_announcements_waiting ON certificate_announcements (respond_by) WHERE state = 'waiting';

-- What proves a message, with a retention of its own. Its bytes are in about and pieces; those that a signature covers are a
-- payload, which the transfer refers to.
CREATE TABLE evidence (
    id          BLOB NOT NULL PRIMARY KEY,
    -- Of a received message the first transfer that was made of it; of a sent one the transfer that was sent.
    transfer_id BLOB NOT NULL REFERENCES transfers (id),
    -- The message: as it was received, or the delivery that sent it. One of both.
    offer_id    BLOB REFERENCES offers (id),
    delivery_id BLOB REFERENCES deliveries (id),
    recorded_at TEXT NOT NULL,
    keep_until  TEXT NOT NULL,
    -- What its transport says of it; and its small pieces by name, in base64. Null once they are removed.
    about       TEXT,
    pieces      TEXT,
    payload_id  BLOB REFERENCES payloads (id),
    removed_at  TEXT
);
CREATE INDEX evidence_by_transfer ON evidence (transfer_id);
CREATE INDEX evidence_by_offer ON evidence (offer_id) WHERE offer_id IS NOT NULL;
CREATE INDEX evidence_kept ON evidence (keep_until) WHERE removed_at IS NULL;

CREATE TABLE connections (
    id                 BLOB    NOT NULL PRIMARY KEY,
    node               TEXT    NOT NULL,
    -- When the process began that has it: tells what a dead process left open.
    process_started_at TEXT NOT NULL,
    opened_at          TEXT NOT NULL,
    -- Null when only the connection's end is known.
    direction          TEXT,
    protocol           TEXT,
    purpose            TEXT,
    endpoint           TEXT,
    host               TEXT,
    remote             TEXT,
    local              TEXT,
    proxy              TEXT,
    security           TEXT,
    -- Of a data connection (FTP): the connection over which it was agreed on.
    control            BLOB,
    -- When another node lost sight of it: whether it still lives is not known. Null again once its own
    -- node has said more.
    lost_at            TEXT,
    -- Null while it is up.
    closed_at          TEXT,
    bytes_in           BIGINT,
    bytes_out          BIGINT,
    duration_micros    BIGINT,
    requests           BIGINT,
    reason             TEXT,
    failed             BOOLEAN
);
CREATE INDEX connections_by_time ON connections (opened_at, id);
CREATE INDEX connections_by_time_without_console ON connections (opened_at, id) WHERE coalesce(purpose, '') <> 'console';
CREATE INDEX connections_by_time_listed ON connections (opened_at, id)
    WHERE coalesce(purpose, '') <> 'console' AND (coalesce(purpose, '') <> 'data' OR coalesce(failed, FALSE));
CREATE INDEX connections_by_control ON connections (control, opened_at, id) WHERE control IS NOT NULL;
CREATE INDEX connections_by_endpoint ON connections (endpoint, opened_at, id);
CREATE INDEX connections_live ON connections (opened_at, id) WHERE closed_at IS NULL;

-- The audit trail: append-only, and no foreign keys from it to anything.
CREATE TABLE audit_events (
    position      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id            BLOB    NOT NULL,
    at            TEXT    NOT NULL,
    node          TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    severity      TEXT    NOT NULL,
    actor         TEXT    NOT NULL,
    flow          TEXT,
    endpoint      TEXT,
    partner       TEXT,
    transfer_id   BLOB,
    delivery_id   BLOB,
    connection_id BLOB,
    peer          TEXT,
    detail        TEXT    NOT NULL,
    UNIQUE (at, id)
);
CREATE INDEX audit_events_by_transfer ON audit_events (transfer_id, at, id) WHERE transfer_id IS NOT NULL;
CREATE INDEX audit_events_by_connection ON audit_events (connection_id, at, id) WHERE connection_id IS NOT NULL;
CREATE INDEX audit_events_by_flow ON audit_events (flow, at, id) WHERE flow IS NOT NULL;
CREATE INDEX audit_events_by_endpoint ON audit_events (endpoint, at, id) WHERE endpoint IS NOT NULL;
CREATE INDEX audit_events_by_kind ON audit_events (kind, at, id);
-- What went wrong with a partner's messages and receipts.
CREATE INDEX audit_events_troubles ON audit_events (partner, at, id) WHERE partner IS NOT NULL
    AND kind IN ('message.refused', 'receipt.unproven', 'receipt.unmatched', 'certificate.fallback_used');

-- Each takes the events from (from_position, from_id) to before (to_position, to_id), and follows the one
-- before it. Kept for ever.
CREATE TABLE audit_seals (
    seq            BIGINT NOT NULL PRIMARY KEY,
    from_position  BIGINT NOT NULL,
    from_id        BLOB   NOT NULL,
    to_position    BIGINT NOT NULL,
    to_id          BLOB   NOT NULL,
    event_count    BIGINT NOT NULL,
    members_digest BLOB  NOT NULL,
    previous       BLOB  NOT NULL,
    sealed_at      TEXT NOT NULL,
    key_id         TEXT   NOT NULL,
    digest         BLOB  NOT NULL,
    signature      BLOB  NOT NULL,
    -- Id and hash of each event; null once retention has removed all of them.
    members        BLOB
);
CREATE INDEX audit_seals_by_position ON audit_seals (to_position);

-- Time stamps of an authority over seals (RFC 3161). No foreign key: a stamp outlives a seal that somebody removed,
-- and tells of it. Kept for ever.
CREATE TABLE audit_timestamps (
    seal  BIGINT NOT NULL PRIMARY KEY,
    -- DER of the TimeStampToken; what it says is read from it alone.
    token BLOB NOT NULL
);

-- Revisions of the definitions. Numbers have no holes: each revision is made against the one before it.
CREATE TABLE revisions (
    number     BIGINT NOT NULL PRIMARY KEY,
    -- From the caller: a repeated request makes no second revision.
    id         BLOB NOT NULL UNIQUE,
    applied_at TEXT NOT NULL,
    author     TEXT   NOT NULL,
    -- apply, edit or rollback.
    kind       TEXT   NOT NULL,
    -- The directory it came from; null for edits and rollbacks.
    source     TEXT,
    summary    TEXT   NOT NULL,
    -- SHA-256 over the digest of the revision before and over what this one changed, in hexadecimal.
    digest     TEXT   NOT NULL
);

-- Definitions, one row for each version of each. The state at revision N is the rows with
-- since_revision <= N and (until_revision IS NULL or until_revision > N). Secrets are references to files and
-- variables, or ids of rows in secrets.
CREATE TABLE definitions (
    section        TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    since_revision BIGINT NOT NULL,
    until_revision BIGINT,
    origin         TEXT   NOT NULL,
    file           TEXT   NOT NULL,
    position       BIGINT NOT NULL,
    document       TEXT NOT NULL,
    -- SHA-256 over the canonical JSON of the document, in hexadecimal.
    digest         TEXT   NOT NULL,
    PRIMARY KEY (section, name, since_revision)
);
CREATE UNIQUE INDEX definitions_in_force ON definitions (section, name) WHERE until_revision IS NULL;
CREATE INDEX definitions_by_since ON definitions (since_revision);
CREATE INDEX definitions_by_until ON definitions (until_revision);

-- The files that definitions came from, for export with their comments. Literal secrets in them are replaced by
-- { kept = true }.
CREATE TABLE definition_files (
    origin         TEXT   NOT NULL,
    file           TEXT   NOT NULL,
    since_revision BIGINT NOT NULL,
    until_revision BIGINT,
    text           TEXT   NOT NULL,
    digest         TEXT   NOT NULL,
    PRIMARY KEY (origin, file, since_revision)
);
CREATE UNIQUE INDEX definition_files_in_force ON definition_files (origin, file) WHERE until_revision IS NULL;

-- Which revision each node has in force.
CREATE TABLE node_revisions (
    node        TEXT   NOT NULL PRIMARY KEY,
    revision    BIGINT NOT NULL,
    -- When it came into force there; and when the node said something of it last.
    since_at    TEXT NOT NULL,
    reported_at TEXT NOT NULL,
    -- Why a newer revision is not in force on the node; null when there is none.
    problem     TEXT
);

-- Flows that a person paused and endpoints that a person set offline, by name. Revisions change nothing about them: a
-- flow that is removed and defined again is still paused. A row stays when a person has ended it, so that nodes find it.
CREATE TABLE suspensions (
    -- flow or endpoint
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    in_force   BOOLEAN NOT NULL,
    actor      TEXT    NOT NULL,
    reason     TEXT,
    changed_at TEXT NOT NULL,
    -- Grows with every change of any row, in the order of commits: nodes ask for what is newer than they know.
    change     BIGINT  NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE UNIQUE INDEX suspensions_by_change ON suspensions (change);

-- The host keys of servers that every node trusts: lines of OpenSSH's known_hosts. Revisions change nothing about them, so
-- that no roll-back brings a key back that a person removed. A row stays when its line was removed.
CREATE TABLE known_hosts (
    id          BLOB NOT NULL PRIMARY KEY,
    -- One line, with single spaces, without its comment.
    line        TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    comment     TEXT,
    added_by    TEXT   NOT NULL,
    added_at    TEXT NOT NULL,
    -- Null as long as the line is in force.
    removed_by  TEXT,
    removed_at  TEXT,
    -- Grows with every change of any row, in the order of commits: nodes read the lines anew when it has grown.
    change      BIGINT NOT NULL
);
CREATE INDEX known_hosts_by_change ON known_hosts (change);

-- Host keys that servers showed and that are not on file, for people to decide about. A few of each server.
CREATE TABLE offered_host_keys (
    host        TEXT   NOT NULL,
    port        BIGINT NOT NULL,
    fingerprint TEXT   NOT NULL,
    key_type    TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    -- unknown or changed
    standing    TEXT   NOT NULL,
    endpoint    TEXT   NOT NULL,
    seen_at     TEXT NOT NULL,
    PRIMARY KEY (host, port, fingerprint)
);

-- Runs of flows that people ask for: whichever node polls the source begins it. Kept for a day.
CREATE TABLE flow_runs (
    id           BLOB NOT NULL PRIMARY KEY,
    flow         TEXT   NOT NULL,
    actor        TEXT   NOT NULL,
    requested_at TEXT NOT NULL,
    -- No node begins it after this moment.
    begin_by     TEXT NOT NULL,
    -- Who began it; another node may begin it again when that one no longer lives.
    node         TEXT,
    epoch        BIGINT,
    started_at   TEXT,
    ended_at     TEXT,
    -- What it came to.
    result       TEXT
);
CREATE INDEX flow_runs_open ON flow_runs (requested_at) WHERE ended_at IS NULL;

-- Secrets of definitions, encrypted with a master key that is not in the database (AES-256-GCM; section, name,
-- field, id and key id are authenticated with them).
CREATE TABLE secrets (
    id      BLOB NOT NULL PRIMARY KEY,
    section TEXT NOT NULL,
    name    TEXT NOT NULL,
    field   TEXT NOT NULL,
    key_id  TEXT NOT NULL,
    -- Nonce, ciphertext and tag.
    ciphertext BLOB NOT NULL
);
CREATE INDEX secrets_by_key ON secrets (key_id, id);

-- A value made from each master key in use (HMAC), to tell a wrong key from the right one.
CREATE TABLE master_keys (
    key_id      TEXT  NOT NULL PRIMARY KEY,
    check_value BLOB NOT NULL
);

CREATE TABLE users (
    name          TEXT    NOT NULL PRIMARY KEY,
    password_hash TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    disabled      BOOLEAN NOT NULL,
    created_at    TEXT    NOT NULL,
    changed_at    TEXT    NOT NULL
);

-- Only digests of tokens are stored.
CREATE TABLE sessions (
    token_digest BLOB NOT NULL PRIMARY KEY,
    user_name    TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_at   TEXT NOT NULL,
    seen_at      TEXT NOT NULL,
    expires_at   TEXT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_name);

-- A link that lets whoever has it make one user.
CREATE TABLE setup_links (
    token_digest BLOB NOT NULL PRIMARY KEY,
    created_at   TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    used_at      TEXT
);
