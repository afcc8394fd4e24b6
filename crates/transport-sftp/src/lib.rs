//! The `transport-sftp` room of Waybill.
