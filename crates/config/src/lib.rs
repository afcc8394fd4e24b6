//! The `config` room of Waybill.
