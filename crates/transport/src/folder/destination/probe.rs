//! The test of an endpoint as a destination: a small file is written, published and deleted.

use super::FolderDestination;
use super::publish::with_advice;
use crate::folder::{Written, names};
use crate::{Probe, Step};
use bytes::Bytes;
use model::{RemotePath, Result};

/// The content of the test file, for a person who finds it.
const CONTENT: &[u8] = b"This file was written by a test of a Waybill endpoint. It may be deleted.\n";

impl FolderDestination {
    /// Adds the steps of a delivery to a test whose connection was made.
    pub(super) async fn probe_steps(&self, probe: &mut Probe) {
        if !self.options.temporary_name {
            // Another program could take any file that is written there for a delivery.
            probe.note(
                Step::Write,
                "not tried: without temporary names, the receiver could take the test file for a delivery",
            );
            return;
        }
        let (name, temporary) = self.probe_names();
        let written =
            self.timed(probe, Step::Write, self.write_for_probe(&temporary, &name), |written| match written
                .size
            {
                Some(size) => format!("{temporary}: {size} bytes"),
                None => format!("{temporary}: {}", written.evidence.words()),
            });
        let Some(written) = written.await else {
            // The test file must not stay, whatever the result. If it cannot be removed, the report already says so.
            let _ = self.folder.remove(&temporary).await;
            return;
        };
        let publish = async {
            if written.gone {
                return Err(self.gone(&temporary, &name));
            }
            self.folder.publish(&temporary, &name, false).await.map_err(with_advice)
        };
        if self.timed(probe, Step::Publish, publish, |how| format!("{name}: {how:?}")).await.is_none() {
            let _ = self.folder.remove(&temporary).await;
            return;
        }
        self.timed(probe, Step::Delete, self.folder.remove(&name), |()| name.to_text()).await;
    }

    /// A unique name, and its temporary name.
    fn probe_names(&self) -> (RemotePath, RemotePath) {
        let mut random = [0_u8; 6];
        self.services.random.fill(&mut random);
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = self.options.directory.join(&format!("waybill-probe-{id}").as_str().into());
        let suffix = self.options.temporary_suffix.as_bytes();
        let temporary = name.with_file_name(&names::wrapped(
            self.options.temporary_prefix.as_bytes(),
            name.file_name(),
            suffix,
        ));
        (name, temporary)
    }

    async fn write_for_probe(&self, temporary: &RemotePath, name: &RemotePath) -> Result<Written> {
        let mut upload = self.begin(temporary, name, Some(CONTENT.len() as u64), None).await?;
        upload.write(Bytes::from_static(CONTENT)).await?;
        upload.finish().await
    }

    async fn timed<T>(
        &self,
        probe: &mut Probe,
        step: Step,
        act: impl Future<Output = Result<T>>,
        seen: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let clock = &self.services.clock;
        let began = clock.monotonic();
        let result = act.await;
        probe.add(step, clock.monotonic().saturating_sub(began), result, seen)
    }
}
