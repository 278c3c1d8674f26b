//! Timeouts of requests to S3 and STS.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;

/// How long a connection may take to come about. Shorter than an attempt, so that an address that
/// swallows packets is reported as such.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The timeouts of a client.
pub(super) fn client_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
}
