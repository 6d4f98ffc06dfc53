//! Log lines in kaniko's three formats, on standard error.
//!
//! `text` and `json` are logrus' formats, `color` is kaniko's own: other tools read these lines.
//! Does not carry the output of RUN steps, which is passed on as it is (`console`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::error::Error;
use crate::grammar::Values;

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFlags {
    /// `--verbosity`; off for `fatal` and `panic`, since the final error is no log line.
    pub level: LevelFilter,
    /// `--log-format`.
    pub format: LogFormat,
    /// `--log-timestamp`: full time instead of seconds since the start, in coloured lines.
    pub timestamp: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `time="…" level=info msg="…"`.
    Text,
    /// `INFO[0007] …`, coloured.
    Color,
    /// One JSON object per line.
    Json,
}

impl LogFlags {
    pub(crate) fn from_values(values: &Values) -> Result<Self, Error> {
        let verbosity = values.text("verbosity").unwrap_or_default();
        let level = parse_level(&verbosity).ok_or_else(|| Error::InvalidValue {
            reason: format!("parsing log level: not a valid logrus Level: \"{verbosity}\""),
            value: verbosity.clone(),
            flag: "-v, --verbosity".to_owned(),
        })?;
        let format = match values.text("log-format").as_deref() {
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            _ => LogFormat::Color,
        };
        Ok(Self { level, format, timestamp: values.is_set("log-timestamp") })
    }
}

fn parse_level(text: &str) -> Option<LevelFilter> {
    Some(match text.to_ascii_lowercase().as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        "fatal" | "panic" => LevelFilter::OFF,
        _ => return None,
    })
}

/// Sends the log lines of the whole program to standard error from now on.
pub fn init(flags: &LogFlags) {
    // A second call finds the first one's subscriber and leaves it in place.
    let _ = tracing::subscriber::set_global_default(subscriber(flags, io::stderr, Clock::start()));
}

/// A subscriber that writes to `writer`.
fn subscriber<W>(flags: &LogFlags, writer: W, clock: Clock) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = flags.level;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).event_format(Lines {
        format: flags.format,
        timestamp: flags.timestamp,
        clock,
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(move |metadata| is_shown(metadata, level))))
}

/// Debug lines of the libraries below (HTTP, TLS) are noise, and may show headers; they appear on
/// `trace` only.
fn is_shown(metadata: &Metadata<'_>, level: LevelFilter) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= level
        && (level == LevelFilter::TRACE
            || *metadata.level() <= Level::WARN
            || OURS.contains(&crate_name))
}

const OURS: &[&str] = &[
    "builder",
    "cache",
    "cli",
    "context",
    "copy",
    "executor",
    "layer",
    "registry",
    "rootfs",
    "run",
    "snapshot",
    "store",
    "transport",
    "warmer",
];

/// The two clocks of a log line.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
    now: fn() -> SystemTime,
    elapsed: fn(Instant) -> Duration,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "log lines carry the time they are written")]
    fn start() -> Self {
        Self { started: Instant::now(), now: SystemTime::now, elapsed: |start| start.elapsed() }
    }
}

struct Lines {
    format: LogFormat,
    timestamp: bool,
    clock: Clock,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let line = match self.format {
            LogFormat::Text => text_line(level, &self.time(), &fields),
            LogFormat::Json => json_line(level, &self.time(), &fields),
            LogFormat::Color => color_line(level, &self.mark(), &fields),
        };
        writer.write_str(&line)?;
        writer.write_char('\n')
    }
}

impl Lines {
    fn time(&self) -> String {
        humantime::format_rfc3339_seconds((self.clock.now)()).to_string()
    }

    fn mark(&self) -> String {
        if self.timestamp {
            return self.time();
        }
        format!("{:04}", (self.clock.elapsed)(self.clock.started).as_secs())
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<&'static str, String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.others.insert(field.name(), value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn text_line(level: Level, time: &str, fields: &Fields) -> String {
    let mut line = format!(
        "time=\"{time}\" level={} msg={}",
        long_name(level),
        quoted_if_needed(&fields.message)
    );
    for (name, value) in &fields.others {
        let _ = write!(line, " {name}={}", quoted_if_needed(value));
    }
    line
}

fn json_line(level: Level, time: &str, fields: &Fields) -> String {
    let mut object: BTreeMap<&str, &str> =
        fields.others.iter().map(|(name, value)| (*name, value.as_str())).collect();
    object.insert("level", long_name(level));
    object.insert("msg", &fields.message);
    object.insert("time", time);
    serde_json::to_string(&object).unwrap_or_default()
}

fn color_line(level: Level, mark: &str, fields: &Fields) -> String {
    let (name, color) = match level {
        Level::TRACE => ("TRAC", 37),
        Level::DEBUG => ("DEBU", 37),
        Level::INFO => ("INFO", 36),
        Level::WARN => ("WARN", 33),
        Level::ERROR => ("ERRO", 31),
    };
    let mut line = format!("\x1b[{color}m{name}\x1b[0m[{mark}] {:<44} ", fields.message);
    for (name, value) in &fields.others {
        let _ = write!(line, " \x1b[{color}m{name}\x1b[0m={}", quoted_if_needed(value));
    }
    line
}

fn long_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

/// logrus quotes a value unless it consists of harmless characters only.
fn quoted_if_needed(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return text.to_owned();
    }
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("because no test panics while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn check(format: LogFormat, timestamp: bool, level: LevelFilter, expected: &str) {
        let clock = Clock {
            started: Instant::now(),
            now: || SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_710_756),
            elapsed: |_| Duration::from_millis(7_900),
        };
        let sink = Sink::default();
        let writer = sink.clone();
        let flags = LogFlags { level, format, timestamp };
        let subscriber = subscriber(&flags, move || writer.clone(), clock);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("Taking snapshot of full filesystem...");
            tracing::info!(target: "hyper", "noise");
            tracing::warn!(stage = 2, path = "/a b", "it says \"no\"");
            tracing::debug!("detail");
        });
        let bytes = sink.0.lock().expect("because no test panics while writing").clone();
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    #[test]
    fn text_lines_are_logrus() {
        check(
            LogFormat::Text,
            false,
            LevelFilter::INFO,
            "time=\"2025-11-21T07:39:16Z\" level=info msg=\"Taking snapshot of full filesystem...\"\n\
             time=\"2025-11-21T07:39:16Z\" level=warning msg=\"it says \\\"no\\\"\" path=\"/a b\" stage=2\n",
        );
    }

    #[test]
    fn json_lines_have_sorted_keys() {
        check(
            LogFormat::Json,
            false,
            LevelFilter::WARN,
            "{\"level\":\"warning\",\"msg\":\"it says \\\"no\\\"\",\"path\":\"/a b\",\"stage\":\"2\",\"time\":\"2025-11-21T07:39:16Z\"}\n",
        );
    }

    #[test]
    fn coloured_lines_are_kanikos() {
        let snapshot = "Taking snapshot of full filesystem...";
        let fields = "\x1b[33mpath\x1b[0m=\"/a b\" \x1b[33mstage\x1b[0m=2";
        let says = format!("{:<44}", "it says \"no\"");
        check(
            LogFormat::Color,
            false,
            LevelFilter::INFO,
            &format!(
                "\x1b[36mINFO\x1b[0m[0007] {snapshot:<44} \n\x1b[33mWARN\x1b[0m[0007] {says}  {fields}\n"
            ),
        );
        check(
            LogFormat::Color,
            true,
            LevelFilter::WARN,
            &format!("\x1b[33mWARN\x1b[0m[2025-11-21T07:39:16Z] {says}  {fields}\n"),
        );
    }

    #[test]
    fn fatal_shows_nothing() {
        check(LogFormat::Text, false, LevelFilter::OFF, "");
    }
}
