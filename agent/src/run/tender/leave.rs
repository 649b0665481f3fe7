//! How a pod's task takes it out of the mesh.

use std::os::fd::AsFd as _;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::Tender;
use crate::pods::pod::{Pod, PodName, PodUid};
use crate::run::claims::{Holder, Turn};
use crate::run::release::{ReleaseError, Released, SharedNetns};
use crate::zds::{RemoveError, ZdsServer};

/// The pod has been let go; ztunnel is told when its last connection has ended.
pub(super) struct Leaving {
    cookie: u64,
    pub(super) task: JoinHandle<()>,
}

impl Tender {
    /// Takes the pod, which lives on, out of the mesh. ztunnel ends a pod's connections when it is told that the pod
    /// has left, so it is told when they have ended by themselves.
    pub(super) async fn leave(&mut self, pod: &Pod) {
        self.shared.subjects.remove(&self.uid);
        self.shared.sandboxes.note_started(&self.uid);
        let released = match self.in_mesh.take() {
            Some(in_mesh) => self.release(in_mesh.netns, in_mesh.cookie).await,
            None if self.trying.is_some() => self.leave_behind(pod).await,
            None => None,
        };
        if let Some((cookie, Released::Draining(draining))) = released {
            let (zds, name, uid) = (self.shared.zds.clone(), self.name.clone(), self.uid.clone());
            let task = tokio::spawn(async move {
                // However it ended.
                draining.await.ok();
                farewell(&zds, name, uid).await;
            });
            self.leaving = Some(Leaving { cookie, task });
            self.announced = false;
        } else if std::mem::take(&mut self.announced) {
            self.farewell().await;
        }
    }

    /// Ends the task of a pod that is gone. ztunnel may take long to answer; the pod may come again meanwhile.
    pub(super) async fn end(mut self) {
        self.let_go().await;
        self.shared.sandboxes.forget(&self.uid);
        self.shared.registry.remove(&self.uid);
        let told = self.announced.then(|| self.farewell());
        drop(self.here);
        if let Some(told) = told {
            told.await;
        }
    }

    /// Takes the pod, whose netns is gone, out of the mesh. Capturing ends before ztunnel is told, so that no
    /// connection meets a ztunnel that has left.
    pub(super) async fn forget(&mut self) {
        self.let_go().await;
        if self.announced {
            self.farewell().await;
        }
    }

    async fn let_go(&mut self) {
        self.shared.subjects.remove(&self.uid);
        if let Some(in_mesh) = self.in_mesh.take() {
            let cookie = in_mesh.cookie;
            if let Some(turn) = self.last_turn(cookie).await {
                let removed = self
                    .shared
                    .releaser
                    .remove(Some(in_mesh.netns), cookie, turn)
                    .await;
                self.report_removed(&removed);
            }
        }
        if let Some(leaving) = self.leaving.take() {
            leaving.task.abort();
            let removed = self.shared.releaser.cut_short(leaving.cookie).await;
            self.report_removed(&removed);
            self.announced = true;
        }
    }

    fn farewell(&self) -> impl Future<Output = ()> + use<> {
        farewell(&self.shared.zds, self.name.clone(), self.uid.clone())
    }

    /// The right to change what is the pod's own, unless another pod has taken the netns over.
    pub(super) async fn own_turn(&self, cookie: u64) -> Option<Turn> {
        let turn = self.shared.claims.turn(cookie).await;
        let own = matches!(&*turn, Holder::Pod(uid) if *uid == self.uid);
        if !own {
            info!(pod = %self.name, uid = %self.uid, netns = cookie, "another pod has taken over the network namespace");
        }
        own.then_some(turn)
    }

    /// The same, unless another pod is in the netns too: it keeps what is there, and makes of it what it needs.
    async fn last_turn(&self, cookie: u64) -> Option<Turn> {
        let mut turn = self.own_turn(cookie).await?;
        let Some(heir) = self.shared.subjects.in_netns(cookie) else {
            return Some(turn);
        };
        info!(pod = %self.name, uid = %self.uid, netns = cookie, heir = %heir.name, "another pod keeps the network namespace");
        *turn = Holder::Pod(heir.uid);
        // Nobody waits for it, and one who asks already is as good.
        heir.tend_now.try_send(oneshot::channel().0).ok();
        None
    }

    async fn release(&self, netns: SharedNetns, cookie: u64) -> Option<(u64, Released)> {
        let turn = self.last_turn(cookie).await?;
        let released = self.shared.releaser.release(netns, cookie, turn).await;
        self.report_removed(&released);
        Some((cookie, released.ok()?))
    }

    /// An earlier agent may have enrolled a pod that is to be left alone by now. Where it is not found it is an
    /// orphan, and found as such.
    async fn leave_behind(&self, pod: &Pod) -> Option<(u64, Released)> {
        pod.netns.as_ref()?;
        let netns = self.netns(pod).await.ok()?;
        let cookie = self.shared.enroller.cookie(netns.as_fd()).ok()?;
        let mut turn = self.shared.claims.turn(cookie).await;
        if !matches!(*turn, Holder::Nobody) {
            return None;
        }
        if !self.shared.enroller.knows(cookie).unwrap_or(false) {
            self.shared.claims.give_up(cookie, turn);
            return None;
        }
        *turn = Holder::Pod(self.uid.clone());
        drop(turn);
        let released = self.release(netns, cookie).await;
        if let Some((_, Released::Draining(_))) = released {
            self.shared.zds.keep(self.uid.clone()).ok();
        }
        released
    }

    fn report_removed<T>(&self, removed: &Result<T, ReleaseError>) {
        match removed {
            Ok(_) => info!(pod = %self.name, uid = %self.uid, "removed from the mesh"),
            Err(error) => {
                warn!(pod = %self.name, uid = %self.uid, %error, "removed from the mesh, but not everything is gone");
            }
        }
    }
}

/// Tells ztunnel at once, and waits for its answer.
fn farewell(zds: &ZdsServer, name: PodName, uid: PodUid) -> impl Future<Output = ()> + use<> {
    let removed = zds.remove(&uid);
    async move {
        match removed.await {
            // The pod has come again.
            Ok(_) | Err(RemoveError::Readded { .. }) => {}
            Err(error) => warn!(pod = %name, %uid, %error, "ztunnel may still serve the pod"),
        }
    }
}
