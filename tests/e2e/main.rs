//! Whole ways: an SFTP folder on a real sshd, AS2 from one gateway to another, a directory; and the
//! commands a person gives beside them.

#![allow(clippy::disallowed_methods, reason = "files are given times of their own")]

mod addresses;
mod as2_progress;
mod as2_send;
mod audit;
mod cert;
mod certificate_ends;
mod certificates;
mod commands;
mod demo;
mod directories;
mod every_pair;
mod forwarding;
mod ftp;
mod https;
mod import;
mod keys;
mod known_hosts;
mod left_behind;
mod limits;
mod lost_key;
mod operating;
mod other_clients;
mod own_revision;
mod proxies;
mod readiness;
mod retried;
mod revisions;
mod schedules;
mod schema;
mod seal_copies;
mod secrets;
mod settling;
mod sftp_connections;
mod sftp_faults;
mod sftp_habits;
mod sites;
mod stability;
mod standby;
mod start;
mod steps;
mod strangers;
mod streaming;
mod timestamps;
mod transfers;
mod under_way;
mod users;
mod validate;
mod webdav;
