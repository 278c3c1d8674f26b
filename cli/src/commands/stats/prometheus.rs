//! Metrics in the Prometheus text format, for collectors that read files.

use std::fmt::Write as _;

use super::PrintedStats;

/// Metrics in the text format; the help and type of a metric precede its samples.
#[derive(Default)]
struct Text(String);

impl Text {
    fn metric(&mut self, kind: &str, name: &str, help: &str, samples: &[(&str, u64)]) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn counter(&mut self, name: &str, help: &str, samples: &[(&str, u64)]) {
        self.metric("counter", name, help, samples);
    }

    fn gauge(&mut self, name: &str, help: &str, samples: &[(&str, u64)]) {
        self.metric("gauge", name, help, samples);
    }
}

/// The complete text. Without a daemon it has only the paths, and reports the daemon as down.
pub(super) fn prometheus_text(stats: &PrintedStats) -> String {
    let mut text = Text::default();
    let state = |wanted: &str| {
        let paths = stats.restored.iter();
        paths.filter(|path| path.state == wanted).count() as u64
    };
    let up = u64::from(stats.daemon.is_some());
    text.gauge("cachefs_daemon_up", "Whether a daemon runs.", &[("", up)]);
    text.gauge(
        "cachefs_restored_paths",
        "Restored paths by state.",
        &[
            ("{state=\"mounted\"}", state(super::MOUNTED)),
            ("{state=\"dead\"}", state(super::DEAD)),
            ("{state=\"directory\"}", state(super::DIRECTORY)),
        ],
    );
    text.gauge(
        "cachefs_unsaved_bytes",
        "Bytes of unsaved changes of earlier jobs.",
        &[("", stats.unsaved.bytes)],
    );
    let Some(daemon) = &stats.daemon else {
        return text.0;
    };
    text.gauge(
        "cachefs_daemon_uptime_seconds",
        "Time since the daemon's worker started; all counters begin with it.",
        &[("", daemon.uptime_seconds)],
    );
    text.counter(
        "cachefs_daemon_restarts_total",
        "Replacements of a dead worker.",
        &[("", daemon.restarts)],
    );
    text.gauge(
        "cachefs_mounts",
        "Views that the daemon serves.",
        &[("", daemon.views.len() as u64)],
    );
    let restores = &daemon.restores;
    text.counter(
        "cachefs_restores_total",
        "Restores through the daemon, by match.",
        &[
            ("{match=\"exact\"}", restores.exact),
            ("{match=\"partial\"}", restores.partial),
            ("{match=\"miss\"}", restores.missed),
            ("{match=\"failed\"}", restores.failed),
        ],
    );
    let reads = &daemon.reads;
    text.counter(
        "cachefs_local_frames_total",
        "Frames that were read from local data.",
        &[("", reads.local_frames)],
    );
    text.counter(
        "cachefs_fetched_bytes_total",
        "Compressed bytes fetched, on demand or by prefetching.",
        &[
            ("{reason=\"demand\"}", reads.demand_bytes),
            ("{reason=\"prefetch\"}", reads.prefetch_bytes),
        ],
    );
    let traffic = &daemon.traffic;
    text.counter(
        "cachefs_remote_requests_total",
        "Requests of the daemon to remotes, every attempt counted.",
        &[
            ("{kind=\"get\"}", traffic.gets),
            ("{kind=\"put\"}", traffic.puts),
            ("{kind=\"head\"}", traffic.heads),
            ("{kind=\"list\"}", traffic.lists),
            ("{kind=\"delete\"}", traffic.deletes),
        ],
    );
    text.counter(
        "cachefs_remote_errors_total",
        "Failed or abandoned attempts.",
        &[("", traffic.errors)],
    );
    text.counter(
        "cachefs_remote_retries_total",
        "Retries.",
        &[("", traffic.retries)],
    );
    text.counter(
        "cachefs_remote_bytes_total",
        "Bytes of objects received from and sent to remotes.",
        &[
            ("{direction=\"in\"}", traffic.bytes_in),
            ("{direction=\"out\"}", traffic.bytes_out),
        ],
    );
    text.gauge(
        "cachefs_cache_bytes",
        "Bytes in the local cache of fetched data.",
        &[("", daemon.cache_bytes)],
    );
    text.gauge(
        "cachefs_cache_limit_bytes",
        "Size limit of the local cache of fetched data.",
        &[("", daemon.cache_limit)],
    );
    text.0
}

#[cfg(test)]
mod tests {
    use cachefs::DaemonStats;

    use super::*;

    fn daemon() -> DaemonStats {
        DaemonStats {
            pid: 1,
            supervisor: 2,
            restarts: 1,
            waiting: 0,
            version: "0".to_owned(),
            uptime_seconds: 7,
            views: Vec::new(),
            reads: Default::default(),
            restores: cachefs::RestoreCounts {
                exact: 3,
                partial: 2,
                missed: 1,
                failed: 4,
            },
            traffic: Default::default(),
            cache_bytes: 5,
            cache_limit: 10,
        }
    }

    fn stats(daemon: Option<DaemonStats>) -> PrintedStats {
        PrintedStats {
            attached: Vec::new(),
            unsaved: Default::default(),
            store: "/store".to_owned(),
            restored: Vec::new(),
            daemon,
            share: None,
        }
    }

    #[test]
    fn every_sample_has_help_and_type_and_comes_once() {
        let text = prometheus_text(&stats(Some(daemon())));
        let mut seen = std::collections::HashSet::new();
        let mut metric = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                metric = rest.split(' ').next().unwrap();
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(rest == format!("{metric} counter") || rest == format!("{metric} gauge"));
                assert_eq!(
                    rest.ends_with("counter"),
                    metric.ends_with("_total"),
                    "{line}"
                );
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(sample.split('{').next(), Some(metric), "{line}");
            assert!(seen.insert(sample.to_owned()), "{line} comes twice");
            value.parse::<u64>().unwrap();
        }
        assert!(text.contains("cachefs_restores_total{match=\"exact\"} 3\n"));
    }

    #[test]
    fn no_daemon_is_a_figure_too() {
        let text = prometheus_text(&stats(None));
        assert!(text.contains("cachefs_daemon_up 0\n"));
        assert!(!text.contains("_total"));
    }
}
