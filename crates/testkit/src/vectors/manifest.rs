//! The manifest of a vector pack: which values of which file are known to be outdated.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::json::HexWord;
use super::{VectorError, read};

/// Folders above a vector in which a manifest is looked for.
const LEVELS_MAX: usize = 12;

/// A vector pack: its folder, and what its manifest says by file.
#[derive(Debug, Default)]
pub struct Manifest {
    /// Folder of the manifest; paths inside are relative to it.
    pub root: PathBuf,
    entries: HashMap<String, ManifestEntry>,
}

/// Entry of a manifest about one file.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ManifestEntry {
    path: String,
    /// Values to expect instead of the file's own.
    #[serde(default)]
    pub recomputed: Recomputed,
    /// Error numbers a reference executor ends with here.
    #[serde(default)]
    pub accept_errors: Vec<i32>,
    /// Request fields the vector needs beyond the plain ones.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Short names of what the vector exercises.
    #[serde(default)]
    pub features: Vec<String>,
}

/// Values that replace outdated ones.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recomputed {
    /// State root.
    pub new_state_root: Option<HexWord>,
    /// Accumulated input hash.
    pub new_acc_input_hash: Option<HexWord>,
    /// Local exit root.
    pub new_local_exit_root: Option<HexWord>,
}

#[derive(Deserialize)]
struct ManifestFile {
    files: Vec<ManifestEntry>,
}

impl Manifest {
    /// Looks for `MANIFEST.json` in `folder` and above it; without one the manifest is empty and rooted at `folder`.
    pub fn find(folder: &Path) -> Result<Self, VectorError> {
        let start =
            std::path::absolute(folder).map_err(|source| VectorError::Read { path: folder.to_path_buf(), source })?;
        for root in start.ancestors().take(LEVELS_MAX) {
            let path = root.join("MANIFEST.json");
            if path.is_file() {
                let file: ManifestFile = serde_json::from_slice(&read(&path)?)
                    .map_err(|source| VectorError::Json { path: path.clone(), source })?;
                let entries = file.files.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
                return Ok(Self { root: root.to_path_buf(), entries });
            }
        }
        Ok(Self { root: start, entries: HashMap::new() })
    }

    /// Returns the path of `file` inside the pack, or the path itself if it lies elsewhere.
    pub fn name_of(&self, file: &Path) -> String {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
        absolute.strip_prefix(&self.root).unwrap_or(file).to_string_lossy().into_owned()
    }

    /// Returns what is known about the file of that name.
    pub fn entry(&self, name: &str) -> Option<&ManifestEntry> {
        self.entries.get(name)
    }
}
