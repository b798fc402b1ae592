//! Finds vector files below a folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::{VectorError, read};

/// Returns every `.json` file of `paths` that is an executor-input, sorted; folders are walked recursively.
///
/// A file that is named directly is always returned: the caller asked for it. Symbolic links to folders are not
/// followed, so a loop cannot trap the walk.
pub fn executor_inputs(paths: &[PathBuf]) -> Result<Vec<PathBuf>, VectorError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// True if the JSON text is an executor-input: an object with a batch, a pre-state and roots.
pub fn is_executor_input(text: &[u8]) -> bool {
    let keys = ["batchL2Data", "oldStateRoot", "newStateRoot", "db"];
    serde_json::from_slice::<HashMap<String, IgnoredAny>>(text)
        .is_ok_and(|object| keys.iter().all(|key| object.contains_key(*key)))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), VectorError> {
    let unreadable = |source| VectorError::Read { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "json") && is_executor_input(&read(&path)?) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_with_all_keys_is_an_executor_input() {
        assert!(is_executor_input(br#"{"batchL2Data": "0x", "oldStateRoot": 1, "newStateRoot": 1, "db": {}}"#));
        assert!(!is_executor_input(br#"{"batchL2Data": "0x", "oldStateRoot": 1, "newStateRoot": 1}"#));
        assert!(!is_executor_input(b"[1, 2, 3, 4]"));
        assert!(!is_executor_input(b"{"));
    }
}
