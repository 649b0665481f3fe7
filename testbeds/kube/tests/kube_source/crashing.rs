//! A server that goes away and comes back.

use std::sync::Arc;

use weir_kube::{ControlPlane, Place, Relay};

pub enum Crashing {
    /// It is killed.
    Ours(Arc<ControlPlane>),
    /// Others need it: the way to it is closed.
    Given(Relay),
}

impl Crashing {
    pub fn new(place: &Place, way: impl FnOnce() -> Relay) -> Self {
        match place {
            Place::Ours(control_plane) => Self::Ours(control_plane.clone()),
            Place::Given(_) => Self::Given(way()),
        }
    }

    pub fn go_away(&self) {
        match self {
            Self::Ours(control_plane) => control_plane.go_away(),
            Self::Given(relay) => relay.close(),
        }
    }

    pub fn come_back(&self) {
        match self {
            Self::Ours(control_plane) => control_plane.come_back().unwrap(),
            Self::Given(relay) => relay.open(),
        }
    }
}
