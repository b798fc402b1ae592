//! The ROM files of an operator: one folder, a file for each fork.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::rules::Rules;
use crate::{LoadError, Program, load};

/// Largest file that is read, in bytes; the largest known has 4 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The programs of the forks whose ROM is there.
#[derive(Debug, Default)]
pub struct Roms {
    programs: BTreeMap<u64, Rom>,
}

/// A program and where it comes from.
#[derive(Debug)]
pub struct Rom {
    /// The program.
    pub program: Program,
    /// Its file.
    pub file: PathBuf,
    /// Fields of lines that are not known, and change nothing that is.
    pub unknown_fields: Vec<String>,
}

/// The reason why ROM files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RomsError {
    /// The folder or a file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Folder or file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is no ROM.
    #[error("{} is no ROM of fork {fork}: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The fork it stands for by its name.
        fork: u64,
        /// What is wrong with it.
        source: LoadError,
    },
    /// The file is larger than any ROM.
    #[error("{} has more than {} MiB", path.display(), FILE_BYTES_MAX >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// No file has a name that is looked for.
    #[error("{} holds no ROM: expected fork_N/scripts/rom.json, fork_N/scripts/rom_N.json, rom_N.json or fork_N.json", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
}

impl Roms {
    /// Loads every ROM of a folder, some at a time.
    ///
    /// The file of fork N is the first of `fork_M/scripts/rom_N.json` (for any M up to N), `fork_N/scripts/rom.json`,
    /// `rom_N.json` and `fork_N.json` that is there. Fails if one of them is damaged, or if there is none.
    pub fn read(folder: &Path) -> Result<Self, RomsError> {
        fs::read_dir(folder).map_err(|source| RomsError::Read { path: folder.to_path_buf(), source })?;
        let found: Vec<_> = Rules::forks().filter_map(|fork| Some((fork, file_of(folder, fork)?))).collect();
        if found.is_empty() {
            return Err(RomsError::Nothing { path: folder.to_path_buf() });
        }
        let mut programs = BTreeMap::new();
        std::thread::scope(|scope| {
            let loads: Vec<_> =
                found.into_iter().map(|(fork, path)| (fork, scope.spawn(move || read_rom(fork, path)))).collect();
            for (fork, load) in loads {
                let rom = load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                programs.insert(fork, rom);
            }
            Ok(Self { programs })
        })
    }

    /// Returns the program of a fork.
    pub fn program(&self, fork: u64) -> Option<&Program> {
        self.programs.get(&fork).map(|rom| &rom.program)
    }

    /// Returns the forks and their ROMs.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Rom)> {
        self.programs.iter().map(|(fork, rom)| (*fork, rom))
    }
}

impl FromIterator<Program> for Roms {
    /// Collects programs that come from no file.
    fn from_iter<I: IntoIterator<Item = Program>>(programs: I) -> Self {
        let rom =
            |program: Program| (program.fork(), Rom { program, file: PathBuf::new(), unknown_fields: Vec::new() });
        Self { programs: programs.into_iter().map(rom).collect() }
    }
}

/// Returns the file of a fork's ROM.
fn file_of(folder: &Path, fork: u64) -> Option<PathBuf> {
    let in_provers = (1..=fork).rev().map(|folder| format!("fork_{folder}/scripts/rom_{fork}.json"));
    let others = [format!("fork_{fork}/scripts/rom.json"), format!("rom_{fork}.json"), format!("fork_{fork}.json")];
    in_provers.chain(others).map(|name| folder.join(name)).find(|path| path.is_file())
}

fn read_rom(fork: u64, path: PathBuf) -> Result<Rom, RomsError> {
    let mut json = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut json));
    if let Err(source) = read {
        return Err(RomsError::Read { path, source });
    }
    if json.len() as u64 > FILE_BYTES_MAX {
        return Err(RomsError::TooLarge { path });
    }
    match load(&json, fork) {
        Ok(loaded) => Ok(Rom { program: loaded.program, file: path, unknown_fields: loaded.unknown_fields }),
        Err(source) => Err(RomsError::Load { path, fork, source }),
    }
}
