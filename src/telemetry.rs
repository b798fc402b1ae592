//! Spans of the calls that bring batches, for a collector of OpenTelemetry (OTLP over gRPC).
//!
//! A call is one span with a child per phase. They are made when the call has ended, out of times recorded on the way: a
//! batch never waits for them, and while they are off nothing is recorded. Spans per transaction would be too many. The EVM
//! and the tree take turns at every transaction, so the phases of the engine are their total times, laid end to end.
//!
//! The library's queue has a bound, and a thread sends what is in it. When the collector does not keep up or is away,
//! spans are dropped, counted and logged by the library.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use crate::config::SpanOptions;

/// Time one export may take, tries after failures included.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);
/// Characters of a client's free text that a span repeats.
const TEXT_CHARACTERS_MAX: usize = 256;

/// Makes spans and sends them.
#[derive(Clone, Debug)]
pub struct Spans {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Spans {
    /// Starts the sending thread, in a tokio runtime whose threads do the input and output. `None` if there are to be
    /// no spans. `instance` tells this process from others of the service.
    pub fn start(options: &SpanOptions, instance: &str) -> Result<Option<Self>, ExporterBuildError> {
        if options.otlp_url.is_empty() {
            return Ok(None);
        }
        let exporter =
            SpanExporter::builder().with_tonic().with_endpoint(&options.otlp_url).with_timeout(EXPORT_LIMIT).build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let instance = KeyValue::new("service.instance.id", instance.to_owned());
        let resource = Resource::builder()
            .with_service_name(options.service_name.clone())
            .with_attributes([version, instance])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sample_ratio))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        Ok(Some(Self { provider, tracer }))
    }

    /// Sends what is waiting, for at most `limit`, and ends the thread. Waits: not for a thread of the runtime.
    pub fn stop(&self, limit: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(limit) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The span that a caller says it is in (W3C Trace Context).
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// Header `traceparent`.
    pub traceparent: Option<&'a str>,
    /// Header `tracestate`.
    pub tracestate: Option<&'a str>,
}

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent,
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Records the phases of one call, if spans are on. Dropped before [`CallSpan::finish`], the call failed.
#[derive(Debug, Default)]
pub struct CallSpan(Option<Box<SpanRecorder>>);

#[derive(Debug)]
struct SpanRecorder {
    tracer: SdkTracer,
    parent: Context,
    name: String,
    /// The same moment by both clocks.
    begun: (SystemTime, Instant),
    /// End of the last phase.
    last: Instant,
    phases: Vec<(&'static str, Instant, Instant)>,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl CallSpan {
    /// Begins the record of a call of `service` whose headers came `at` then and whose request is there now.
    pub fn begin(spans: &Spans, service: &'static str, method: &'static str, at: Instant, caller: Caller<'_>) -> Self {
        let mut span = Self(Some(Box::new(SpanRecorder {
            tracer: spans.tracer.clone(),
            parent: TraceContextPropagator::new().extract_with_context(&Context::new(), &caller),
            name: format!("{service}/{method}"),
            begun: (SystemTime::now().checked_sub(at.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH), at),
            last: at,
            phases: Vec::new(),
            attributes: vec![
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", service),
                KeyValue::new("rpc.method", method),
            ],
            status: Status::error("the call got no answer of its own"),
        })));
        span.end_phase("receive");
        span
    }

    /// Ends a phase that began when the last one ended.
    pub fn end_phase(&mut self, phase: &'static str) {
        if let Some(recorder) = &mut self.0 {
            let now = Instant::now();
            recorder.phases.push((phase, recorder.last, now));
            recorder.last = now;
        }
    }

    /// Ends several phases of known lengths, laid end to end from the end of the last one.
    pub fn end_phases(&mut self, phases: &[(&'static str, Duration)]) {
        if let Some(recorder) = &mut self.0 {
            for (phase, length) in phases {
                let end = recorder.last + *length;
                recorder.phases.push((phase, recorder.last, end));
                recorder.last = end;
            }
            // Whatever was not in them belongs to no phase.
            recorder.last = recorder.last.max(Instant::now());
        }
    }

    /// Records what the call is about.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(recorder) = &mut self.0 {
            recorder.attributes.push(KeyValue::new(key, value));
        }
    }

    /// The same for a client's free text, of which only the beginning is kept.
    pub fn note_text(&mut self, key: &'static str, text: &str) {
        if self.0.is_some() {
            self.note(key, text.chars().take(TEXT_CHARACTERS_MAX).collect::<String>());
        }
    }

    /// Ends the call, which was answered; hands its spans to the library.
    pub fn finish(mut self) {
        if let Some(recorder) = &mut self.0 {
            recorder.status = Status::Ok;
        }
    }
}

impl Drop for SpanRecorder {
    fn drop(&mut self) {
        let (begun, begun_at) = self.begun;
        let time = |at: Instant| begun + at.saturating_duration_since(begun_at);
        let Self { tracer, parent, .. } = self;
        let builder = tracer
            .span_builder(std::mem::take(&mut self.name))
            .with_kind(SpanKind::Server)
            .with_start_time(begun)
            .with_attributes(std::mem::take(&mut self.attributes));
        let context = parent.with_span(tracer.build_with_context(builder, parent));
        let call = context.span();
        if !call.is_recording() {
            return;
        }
        for (phase, from, to) in &self.phases {
            let builder = tracer.span_builder(*phase).with_start_time(time(*from));
            tracer.build_with_context(builder, &context).end_with_timestamp(time(*to));
        }
        call.set_status(std::mem::replace(&mut self.status, Status::Unset));
        call.end_with_timestamp(time(Instant::now()));
    }
}
