//! `zkevm-executor aggregator`: the mock aggregator client alone, until SIGTERM or ctrl-c.

use std::time::Duration;

use super::layers::{self, Layers};
use super::logging;
use super::serve::shutdown_signal;
use crate::aggregator::{self, Backoff};
use crate::capture::{FileWriter, StreamFiles};

/// Time the last files have to be written.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Runs the client and blocks until a signal comes.
pub fn run(args: &Layers<layers::Aggregator>) -> Result<(), Box<dyn std::error::Error>> {
    let config = args.config()?;
    let prover_id = uuid::Uuid::new_v4().to_string();
    let _log = logging::start(config.log, &prover_id)?;
    let file_writer = FileWriter::start(config.files)?;
    let files = StreamFiles::new(file_writer.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            () = aggregator::run(config.aggregator, prover_id, Backoff::default(), files) => {}
            signal = shutdown_signal() => tracing::info!(signal = signal?, "stopped"),
        }
        Ok::<_, std::io::Error>(())
    })?;
    file_writer.close(CLOSE_LIMIT);
    Ok(())
}
