//! Which proxy stands behind the contract: the stand-in, or a real ztunnel.

use std::env;
use std::path::{Path, PathBuf};

use super::Error;

/// Names the real ztunnel to be used instead of the stand-in.
pub const ZTUNNEL_VARIABLE: &str = "WEIR_ZTUNNEL";

const STANDIN: &str = "weir-standin";

/// A program that keeps the contracts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// Ours, in clear.
    StandIn(PathBuf),
    /// Istio's; it needs the `testing` feature for its self-made certificates.
    Ztunnel(PathBuf),
}

impl ProxyKind {
    /// The ztunnel that `WEIR_ZTUNNEL` names, else the stand-in.
    pub fn from_env() -> Result<Self, Error> {
        match env::var_os(ZTUNNEL_VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Self::ztunnel(Path::new(&path)),
            None => Self::stand_in(),
        }
    }

    /// A real ztunnel.
    pub fn ztunnel(path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            return Err(Error::NoZtunnel(path.to_owned()));
        }
        Ok(Self::Ztunnel(path.to_owned()))
    }

    /// The stand-in that was built together with the running program.
    pub fn stand_in() -> Result<Self, Error> {
        let program = env::current_exe().map_err(|source| Error::Io {
            step: "find the running program",
            source,
        })?;
        // Tests run from `deps`, examples from `examples`, both below the binaries.
        let directories = || program.ancestors().skip(1).take(2);
        directories()
            .map(|directory| directory.join(STANDIN))
            .find(|path| path.is_file())
            .map(Self::StandIn)
            .ok_or_else(|| Error::NoStandIn(directories().last().unwrap_or(&program).to_owned()))
    }
}
