//! The Helm chart and the manifest made from it.

use anyhow::Result;

use crate::deploy::{self, Helm};
use crate::steps::Outcome;

pub(super) fn check() -> Result<Outcome> {
    match Helm::find() {
        Ok(helm) => {
            deploy::check(&helm)?;
            Ok(Outcome::Passed)
        }
        Err(error) => Ok(Outcome::NotChecked(format!("there is no helm: {error:#}"))),
    }
}
