//! Estimates the cost of requests, if a price is known.

use cachefs_store::remote::RemoteTraffic;

/// The list price of a kind of store, in US dollars for 1,000 requests.
struct Price {
    /// How addresses of such a store begin.
    scheme: &'static str,
    /// Reads and size queries.
    read: f64,
    /// Writes and listings.
    write: f64,
}

/// S3 Standard in us-east-1, list prices of November 2025. Deletions are free, and so is
/// traffic within a region; traffic that leaves it, and storage, are not in here.
const PRICES: [Price; 1] = [Price {
    scheme: "s3://",
    read: 0.0004,
    write: 0.005,
}];

/// The estimated cost of requests to a remote, in US dollars; `None` where no price is known, as
/// for a directory or an S3 server other than AWS.
pub(crate) fn estimate_request_cost(
    url: &str,
    endpoint: Option<&str>,
    traffic: &RemoteTraffic,
) -> Option<f64> {
    if endpoint.is_some() {
        return None;
    }
    let price = PRICES.iter().find(|price| url.starts_with(price.scheme))?;
    let reads = (traffic.gets + traffic.heads) as f64;
    let writes = (traffic.puts + traffic.lists) as f64;
    Some((reads * price.read + writes * price.write) / 1000.0)
}

/// An amount for people, such as `$0.0054`.
pub(crate) fn format_dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.0001 {
        "< $0.0001".to_owned()
    } else {
        format!("${amount:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_both_classes_count_and_deletions_do_not() {
        let traffic = RemoteTraffic {
            gets: 900,
            heads: 100,
            puts: 600,
            lists: 400,
            deletes: 1000,
            ..RemoteTraffic::default()
        };
        let cost = estimate_request_cost("s3://bucket/ci", None, &traffic).unwrap();
        assert!((cost - 0.0054).abs() < 1e-9, "{cost}");
        assert_eq!(format_dollars(cost), "$0.0054");
        assert_eq!(format_dollars(0.000_01), "< $0.0001");
        assert_eq!(format_dollars(0.0), "$0.0000");
        assert_eq!(estimate_request_cost("file:///cache", None, &traffic), None);
        assert_eq!(
            estimate_request_cost("s3://b", Some("http://localhost"), &traffic),
            None
        );
    }
}
