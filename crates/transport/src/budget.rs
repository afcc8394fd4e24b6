//! One budget for all buffers of the process.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limit of bytes that all streams of the process together may hold in buffers. Code that needs a buffer
/// takes a lease first, and waits if the budget is used up. So many large transfers slow each other down
/// instead of filling the memory.
#[derive(Clone, Debug)]
pub struct BufferBudget {
    units: Arc<Semaphore>,
    total: u32,
}

/// Granularity in bytes: a semaphore counts in `u32`.
const UNIT: usize = 4096;

impl BufferBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / UNIT as u64).unwrap_or(u32::MAX).max(1);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits until `bytes` are free, and holds them until the lease is dropped. A request for more than the
    /// whole budget is reduced to the whole budget, so that it is served, although alone.
    ///
    /// Take one lease for all buffers of a stream: if many streams each took two leases one after the other,
    /// they could wait for each other without end.
    pub async fn take(&self, bytes: usize) -> BufferLease {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.total);
        // The semaphore is never closed, so a lease always has its permit.
        BufferLease { _permit: Arc::clone(&self.units).acquire_many_owned(units).await.ok() }
    }

    /// Bytes that are not leased now.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT as u64
    }

    /// The size of the budget in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::from(self.total) * UNIT as u64
    }
}

/// A part of the budget, returned when dropped.
#[derive(Debug)]
pub struct BufferLease {
    _permit: Option<OwnedSemaphorePermit>,
}
