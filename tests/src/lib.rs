//! What the end-to-end suites share: real servers, gateways as child processes, the ledger.
