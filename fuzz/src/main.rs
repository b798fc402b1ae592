//! The driver: runs a target on mutated inputs, on stable Rust, and keeps the first input that fails.
//!
//! An input fails if the target panics, or takes more processor time or memory than [`LIMIT`] and [`memory_bytes_max`] allow.
//! It is written down before it runs, so that it is there after an abort too.

use std::any::Any;
use std::collections::HashSet;
use std::fs;
use std::io::Error;
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use zkevm_fuzz::mutate::mutate;
use zkevm_fuzz::targets::{TARGETS, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Processor time that one input may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Time after which an input hangs, whatever it does meanwhile.
const HANGS_AFTER: Duration = Duration::from_secs(60);
/// Memory that all inputs together may leave behind: caches of the readers, and what the driver notes of each kind of answer.
const GROWTH_BYTES_MAX: usize = 64 << 20;
/// Most inputs to start from; beyond it a random one makes room.
const CORPUS_MAX: usize = 4096;
/// Where failing inputs are written, beside this crate.
const ARTIFACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/artifacts");

/// Feeds mutated inputs to a reader of untrusted bytes.
#[derive(Parser)]
struct Arguments {
    /// Target, or `all` to share the time between all of them.
    #[arg(value_parser = names())]
    target: String,
    /// Seconds to run.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Mutated inputs to run of each target, if that takes less than the seconds.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    inputs: usize,
    /// Seed of the mutations; another one each time if left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Inputs to run once, in place of mutated ones.
    files: Vec<PathBuf>,
}

fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).chain(["all"]).collect()
}

/// Why an input fails.
struct Failure(String);

/// Returns the memory that an input may take beside itself: a parsed form may be many times the bytes it came in.
fn memory_bytes_max(target: &Target, input_bytes: usize) -> usize {
    target.memory_bytes_max + 512 * input_bytes
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns true if no input failed.
fn run(arguments: &Arguments) -> Result<bool, Error> {
    let chosen: Vec<&Target> =
        TARGETS.iter().filter(|target| [target.name, "all"].contains(&&*arguments.target)).collect();
    let Some(seconds) = Duration::try_from_secs_f64(arguments.seconds).ok() else {
        return Err(Error::other("--seconds must be a positive number"));
    };
    fs::create_dir_all(ARTIFACTS)?;
    let runner = Runner::new();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut all_passed = true;
    for target in &chosen {
        all_passed &= match arguments.files.is_empty() {
            true => runner.fuzz(target, seconds / chosen.len() as u32, arguments.inputs, seed)?,
            false => runner.replay(target, &arguments.files)?,
        };
    }
    Ok(all_passed)
}

/// Runs inputs and watches them.
struct Runner {
    /// Message and place of the last panic.
    panic: Arc<Mutex<String>>,
    /// When the input that runs began, in milliseconds after `start` and at least 1; 0 between inputs.
    began: Arc<AtomicU64>,
    start: Instant,
}

impl Runner {
    fn new() -> Self {
        let runner = Self { panic: Arc::default(), began: Arc::default(), start: Instant::now() };
        let text = Arc::clone(&runner.panic);
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let said = format!("panic at {place}: {}", message(info.payload()));
            *text.lock().unwrap_or_else(PoisonError::into_inner) = said;
        }));
        let (began, start) = (Arc::clone(&runner.began), runner.start);
        std::thread::spawn(move || watch(&began, start));
        runner
    }

    /// Returns true if none of the files fails.
    fn replay(&self, target: &Target, files: &[PathBuf]) -> Result<bool, Error> {
        let mut all_passed = true;
        for path in files {
            let outcome = self.input(target, &fs::read(path)?);
            all_passed &= outcome.is_ok();
            let said = outcome.map_or_else(|failure| failure.0, |kind| format!("passes (answer {kind:016x})"));
            println!("{}: {}: {said}", target.name, path.display());
        }
        Ok(all_passed)
    }

    /// Returns true if no input failed in that time, or among the first `inputs_max` mutated ones, and memory did not grow.
    fn fuzz(&self, target: &Target, time: Duration, inputs_max: usize, seed: u64) -> Result<bool, Error> {
        let mut rng = Rng::with_seed(seed);
        let mut corpus = (target.seeds)();
        let seeds = corpus.len();
        let running = Path::new(ARTIFACTS).join(format!("{}-{}-running", target.name, std::process::id()));
        let file = fs::File::create(&running)?;
        let mut kinds = HashSet::new();
        let (start, mut inputs) = (Instant::now(), 0_usize);
        let mut held = Held::default();
        while inputs < seeds || (start.elapsed() < time && inputs - seeds < inputs_max) {
            if inputs == seeds {
                held = Held::now(&corpus);
            }
            let is_seed = inputs < seeds;
            let input = if is_seed { corpus[inputs].clone() } else { next(&mut rng, &corpus, target) };
            // In place: making the file anew would cost more than most inputs take.
            file.write_all_at(&input, 0)?;
            file.set_len(input.len() as u64)?;
            match self.input(target, &input) {
                Ok(kind) if kinds.insert(kind) && !is_seed => keep(&mut rng, &mut corpus, seeds, input),
                Ok(_) => {}
                Err(Failure(why)) => {
                    let artifact = Path::new(ARTIFACTS).join(format!("{}-{:016x}", target.name, hash(&input)));
                    fs::rename(&running, &artifact)?;
                    println!("{}: input {inputs} of seed {seed} fails: {why}", target.name);
                    println!("  cargo run -p zkevm-fuzz -- {} {}", target.name, artifact.display());
                    return Ok(false);
                }
            }
            inputs += 1;
        }
        fs::remove_file(&running)?;
        let (name, seconds, kinds) = (target.name, start.elapsed().as_secs_f64(), kinds.len());
        let grown = Held::now(&corpus).0.saturating_sub(held.0);
        let verdict = if grown > GROWTH_BYTES_MAX { "but memory grew" } else { "none failed" };
        println!(
            "{name}: {inputs} inputs in {seconds:.0} s, {kinds} kinds of answers, {} KiB held more, {verdict} (--seed {seed})",
            grown >> 10
        );
        Ok(grown <= GROWTH_BYTES_MAX)
    }

    /// Runs one input; returns the kind of its answer.
    fn input(&self, target: &Target, input: &[u8]) -> Result<u64, Failure> {
        self.began.store(self.start.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        MEMORY.reset_peak_usage();
        let (memory, time) = (MEMORY.current_usage(), processor_time());
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        let (time, memory) = (processor_time().saturating_sub(time), MEMORY.peak_usage().saturating_sub(memory));
        self.began.store(0, Ordering::Relaxed);
        let Ok(kind) = outcome else {
            return Err(Failure(self.panic.lock().unwrap_or_else(PoisonError::into_inner).clone()));
        };
        if time > LIMIT {
            return Err(Failure(format!("{time:.1?} of processor time")));
        }
        if memory > memory_bytes_max(target, input.len()) {
            return Err(Failure(format!("{} MiB of memory for {} bytes", memory >> 20, input.len())));
        }
        Ok(kind)
    }
}

/// Memory in use beside the inputs to start from.
#[derive(Default)]
struct Held(usize);

impl Held {
    fn now(corpus: &[Vec<u8>]) -> Self {
        let inputs: usize = corpus.iter().map(Vec::capacity).sum();
        Self(MEMORY.current_usage().saturating_sub(inputs))
    }
}

/// Mutates an input of the corpus. Every second one is among the newest, which lead to new ground.
fn next(rng: &mut Rng, corpus: &[Vec<u8>], target: &Target) -> Vec<u8> {
    let newest = corpus.len() - corpus.len().div_ceil(8);
    let chosen = if rng.bool() { rng.usize(newest..corpus.len()) } else { rng.usize(..corpus.len()) };
    let mut input = corpus[chosen].clone();
    let other = &corpus[rng.usize(..corpus.len())];
    mutate(rng, &mut input, other, target.dictionary, target.input_bytes_max);
    input
}

/// Adds an input to the corpus, of which the first ones, the seeds, stay.
fn keep(rng: &mut Rng, corpus: &mut Vec<Vec<u8>>, seeds: usize, input: Vec<u8>) {
    if corpus.len() >= CORPUS_MAX.max(seeds + 1) {
        corpus.swap_remove(rng.usize(seeds..corpus.len()));
    }
    corpus.push(input);
}

/// Ends the process when an input hangs. The file it was written to stays.
fn watch(began: &AtomicU64, start: Instant) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let since = began.load(Ordering::Relaxed);
        let now = start.elapsed().as_millis() as u64;
        if since > 0 && now.saturating_sub(since) > HANGS_AFTER.as_millis() as u64 {
            println!("an input hangs: the newest file that ends in -running in {ARTIFACTS}");
            std::process::exit(1);
        }
    }
}

/// Returns the processor time of this process: others do not count, threads that an input is handed to do.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn message(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Returns the FNV-1a hash of an input: the same on every machine.
fn hash(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
