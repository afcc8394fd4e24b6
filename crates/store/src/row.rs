//! Rows into nouns.
