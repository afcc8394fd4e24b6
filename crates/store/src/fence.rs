//! Taking everything from a node that no longer lives.
