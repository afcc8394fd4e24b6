//! The `staging` room of Waybill.
