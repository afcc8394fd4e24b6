//! The `store` room of Waybill.
