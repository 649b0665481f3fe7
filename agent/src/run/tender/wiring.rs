//! What is odd about a pod that is in the mesh. It is looked for when the pod is captured, so that no start waits for it.

use std::os::fd::AsFd as _;

use tokio::task::spawn_blocking;
use tracing::debug;
use weir_netdetect::choose::Contract;

use super::Tender;

impl Tender {
    pub(super) fn note_annotations(&mut self, oddities: Vec<String>) {
        if let Some(in_mesh) = &mut self.in_mesh {
            in_mesh.oddities.annotations = oddities;
        }
    }

    /// Looks how the pod is connected, and reports what of it is not captured.
    pub(super) async fn look_at_wiring(&mut self) {
        let Some(in_mesh) = self.in_mesh.as_ref().filter(|in_mesh| in_mesh.captured) else {
            return;
        };
        let subject = self.shared.subjects.get(&self.uid);
        let Some(subject) = subject.filter(|subject| subject.contract == Contract::InPod) else {
            return;
        };
        let (enroller, netns) = (self.shared.enroller.clone(), in_mesh.netns.clone());
        let look = move || enroller.told_of(netns.as_fd(), &subject.filters.virtual_interfaces);
        let found = match spawn_blocking(look).await {
            Ok(Ok(found)) => found,
            // The pod may have gone.
            Ok(Err(error)) => return debug!(pod = %self.name, %error, "how it is connected"),
            Err(_) => return,
        };
        if let Some(in_mesh) = self
            .in_mesh
            .as_mut()
            .filter(|in_mesh| in_mesh.oddities.wiring != found)
        {
            in_mesh.oddities.wiring = found;
            self.report_oddities();
        }
    }
}
