//! PHP: what Composer downloads.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static COMPOSER: Tool = Tool {
    name: "composer",
    title: "Composer",
    locks: &["composer.lock"],
    manifests: &["composer.json"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let question = ["config", "--global", "--no-plugins", "cache-dir"];
        let cache = host
            .variable(&["COMPOSER_CACHE_DIR"])
            .or_else(|| host.asked("composer", &question))
            .or_else(|| Some(host.variable(&["COMPOSER_HOME"])?.join("cache")))
            .unwrap_or_else(|| host.cache("composer"));
        vec![
            Draft::main(cache),
            Draft::new("vendor", site.own("vendor"))
                .compiled()
                .optional("`composer install` creates it from the cache"),
        ]
    },
};
