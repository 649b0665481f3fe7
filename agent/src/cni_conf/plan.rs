//! What our file should say: a pure decision.

use super::chain::{Chain, ISTIO};
use super::directory::Configurations;
use super::{CONFLIST, ConfError};

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Our file says what it should.
    Nothing,
    /// It is to say this.
    Write {
        /// Whose chain it is.
        primary: String,
        /// The whole file.
        text: String,
    },
}

/// Decides. On an error our file, if there is one, stays as it is: without it pods would start past the mesh.
pub(super) fn plan(found: &Configurations, entry: &str, take_over: bool) -> Result<Plan, ConfError> {
    if let Some((file, _)) = found.others.iter().find(|(name, _)| name.as_str() < CONFLIST) {
        return Err(ConfError::Outranked { file: file.clone() });
    }
    refuse_istio(found, take_over)?;
    let (primary, chain) = primary(found)?;
    let text = chain
        .with_ours(entry)
        .map_err(|error| ConfError::primary(primary, &error))?;
    if found.ours.as_ref() == Some(&text) {
        return Ok(Plan::Nothing);
    }
    let primary = primary.to_owned();
    Ok(Plan::Write { primary, text })
}

/// Istio's plugin and ours cannot share a chain.
pub(super) fn refuse_istio(found: &Configurations, take_over: bool) -> Result<(), ConfError> {
    let has_it = |text: &Option<String>| {
        let chain = text.as_deref().and_then(|text| Chain::read(text).ok());
        chain.is_some_and(|chain| chain.has(ISTIO))
    };
    match found.others.iter().find(|(_, text)| has_it(text)) {
        Some((file, _)) if !take_over => Err(ConfError::Istio { file: file.clone() }),
        _ => Ok(()),
    }
}

/// The chain that the runtime would take if we and Istio were not there. A file that is being written is waited for:
/// whatever comes after it is not what the runtime will take.
fn primary(found: &Configurations) -> Result<(&str, Chain), ConfError> {
    let mut with_istio = None;
    for (file, text) in &found.others {
        let text = text.as_deref().unwrap_or_default();
        let chain = Chain::read(text).map_err(|error| ConfError::primary(file, &error))?;
        if !chain.has_others() {
            continue;
        }
        if !chain.has(ISTIO) {
            return Ok((file, chain));
        }
        // Istio's copy of the chain; the original may come after it.
        with_istio.get_or_insert((file.as_str(), chain));
    }
    with_istio.ok_or_else(|| ConfError::NoPrimary {
        directory: found.directory.clone(),
    })
}
